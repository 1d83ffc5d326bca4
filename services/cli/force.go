package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	clusterv1 "github.com/pandodb/pando/gen/go/pando/cluster/v1"
	"github.com/pandodb/pando/services/internal/boot"
)

func forceCommand(w IO) *cobra.Command {
	c := &cobra.Command{
		Use:   "force",
		Short: "Have a shard go on with a replica that may lack acknowledged writes",
		Long: `When the peers of all Active replicas of a shard are gone, the shard waits for one of them to return: only they have
every acknowledged write. If none will return, this makes a replica that is Dead or Partial Active, and its peer answers
for the shard from then on. What was acknowledged since that replica was last Active may be gone.

Look first (pando cluster status): if a peer with an Active replica can be started again, start it instead. Among several
Dead replicas the one that was Active last lacks least. It is refused while the peer of an Active replica is there, and if
the named replica is empty or its peer does not answer.

Should a former Active replica come back after all, what it has that the shard goes on without is set aside in the folder
set-aside of its peer (metric pando_data_set_aside_replicas), and it is copied anew. Nothing removes that folder by itself.`,
		Example: `  pando cluster status --collection words
  pando cluster force --collection words --shard 3 --peer 5121385193210880 --accept-loss`,
		Args: cobra.NoArgs,
	}
	conn := connectionFlags(c, w)
	collection := c.Flags().String("collection", "", "collection or alias")
	shard := c.Flags().Uint32("shard", 0, "number of the shard")
	peer := c.Flags().Uint64("peer", 0, "peer that holds the replica")
	accept := c.Flags().Bool("accept-loss", false, "say that acknowledged writes may be lost")
	for _, name := range []string{"collection", "shard", "peer"} {
		_ = c.MarkFlagRequired(name) // it fails for unknown flags only
	}
	c.RunE = func(c *cobra.Command, _ []string) error {
		if !*accept {
			return boot.Exit(boot.ExitUsage, errors.New("acknowledged writes may be lost: say --accept-loss if that is meant"))
		}
		cc, err := conn.dial()
		if err != nil {
			return err
		}
		defer cc.Close()
		if err := conn.call(c.Context(), func(ctx context.Context) error {
			_, err := clusterv1.NewClusterClient(cc).ForceReplica(ctx, &clusterv1.ForceReplicaRequest{CollectionName: *collection, ShardId: *shard, PeerId: *peer})
			return err
		}); err != nil {
			return err
		}
		_, err = fmt.Fprintf(c.OutOrStdout(), "shard %d of %s goes on with the replica on peer %d\n", *shard, *collection, *peer)
		return err
	}
	return c
}
