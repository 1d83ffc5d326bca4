package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	clusterv1 "github.com/pandodb/pando/gen/go/pando/cluster/v1"
	"github.com/pandodb/pando/gen/go/qdrant"
	"github.com/pandodb/pando/services/internal/boot"
)

func verifyCommand(w IO) *cobra.Command {
	c := &cobra.Command{
		Use:   "verify [collection]",
		Short: "Compare all replicas now, and print the proof",
		Long: `Compares the replicas of each shard, of one collection or of all: the primary puts a mark into the shard's log, and every
Active replica tells the digest of its points at that mark. Equal digests mean equal points, payloads and vectors.

  equal         it has the digest that most replicas have; of two, the primary's
  differs       it has another one. It is marked Dead and copied anew by itself: nothing has to be done
  not compared  it is not Active, or did not tell in time; the reason is beside it

Clients go on meanwhile. Any peer can be asked. The exit code is 0 only if every replica of every shard was compared, and
all are equal.`,
		Example: "  pando cluster verify\n  pando cluster verify words --timeout 2m\n  pando cluster verify --json | jq '.[] | select(.equal | not)'",
		Args:    cobra.MaximumNArgs(1),
	}
	conn := connectionFlags(c, w)
	timeout := c.Flags().Lookup("timeout")
	timeout.Usage, timeout.DefValue, conn.timeout = "how long the comparison of one collection may take, at least 1s", "30s", 30*time.Second
	asJSON := c.Flags().Bool("json", false, "print JSON")
	c.RunE = func(c *cobra.Command, args []string) error {
		views, err := verify(c.Context(), conn, args)
		if err != nil {
			return err
		}
		out := c.OutOrStdout()
		if *asJSON {
			enc := json.NewEncoder(out)
			enc.SetIndent("", "  ")
			err = enc.Encode(views)
		} else {
			err = printVerified(out, views)
		}
		for _, v := range views {
			if err == nil && !v.Equal {
				err = errors.New("not all replicas were compared and found equal")
			}
		}
		return err
	}
	return c
}

// verify has the named collections compared, or all.
func verify(ctx context.Context, conn *connection, names []string) ([]verifiedView, error) {
	seconds := uint64(conn.timeout / time.Second)
	if seconds < 1 {
		return nil, boot.Exit(boot.ExitUsage, fmt.Errorf("--timeout=%v: it must be 1s at least", conn.timeout))
	}
	conn.timeout += grace
	cc, err := conn.dial()
	if err != nil {
		return nil, err
	}
	defer cc.Close()
	if len(names) == 0 {
		var all *qdrant.ListCollectionsResponse
		if err := conn.call(ctx, func(ctx context.Context) (err error) {
			all, err = qdrant.NewCollectionsClient(cc).List(ctx, &qdrant.ListCollectionsRequest{})
			return err
		}); err != nil {
			return nil, err
		}
		for _, one := range all.GetCollections() {
			names = append(names, one.GetName())
		}
	}
	views := []verifiedView{}
	for _, name := range names {
		var r *clusterv1.VerifyReplicasResponse
		if err := conn.call(ctx, func(ctx context.Context) (err error) {
			r, err = clusterv1.NewClusterClient(cc).VerifyReplicas(ctx, &clusterv1.VerifyReplicasRequest{CollectionName: name, Timeout: &seconds})
			return err
		}); err != nil {
			return nil, err
		}
		views = append(views, verifiedOf(name, r.GetResult()))
	}
	return views, nil
}

// grace lets the peer's own word on its timeout arrive.
const grace = 2 * time.Second

// verifiedView is what is shown of a collection.
type verifiedView struct {
	Collection string              `json:"collection"`
	Equal      bool                `json:"equal"`
	Shards     []verifiedShardView `json:"shards"`
}

type verifiedShardView struct {
	Shard    uint32                `json:"shard"`
	Seq      uint64                `json:"seq"`
	Epoch    uint64                `json:"epoch"`
	Replicas []verifiedReplicaView `json:"replicas"`
}

type verifiedReplicaView struct {
	Peer    uint64 `json:"peer"`
	State   string `json:"state"`
	Primary bool   `json:"primary"`
	Digest  string `json:"digest,omitempty"`
	Applied uint64 `json:"applied,omitempty"`
	Verdict string `json:"verdict"`
	Reason  string `json:"reason,omitempty"`
}

func verifiedOf(name string, v *clusterv1.Verification) verifiedView {
	out := verifiedView{Collection: name, Equal: v.GetEqual(), Shards: []verifiedShardView{}}
	for _, s := range v.GetShards() {
		shard := verifiedShardView{Shard: s.GetShardId(), Seq: s.GetSeq(), Epoch: s.GetEpoch(), Replicas: []verifiedReplicaView{}}
		for _, r := range s.GetReplicas() {
			verdict := strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(r.GetVerdict().String(), "VERDICT_"), "_", " "))
			shard.Replicas = append(shard.Replicas, verifiedReplicaView{Peer: r.GetPeerId(), State: r.GetState().String(), Primary: r.GetPrimary(),
				Digest: r.GetDigest(), Applied: r.GetApplied(), Verdict: verdict, Reason: r.GetReason()})
		}
		out.Shards = append(out.Shards, shard)
	}
	return out
}

// printVerified writes a line for each replica, and what it comes to.
func printVerified(out io.Writer, views []verifiedView) error {
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	replicas, count := 0, map[string]int{}
	for i, v := range views {
		if i == 0 {
			fmt.Fprintln(t, "SHARD\tEPOCH\tENTRY\tPEER\tSTATE\tAPPLIED\tDIGEST\tVERDICT")
		}
		for _, s := range v.Shards {
			for _, r := range s.Replicas {
				replicas++
				count[r.Verdict]++
				state, verdict, digest := r.State, r.Verdict, r.Digest
				if r.Primary {
					state += ", primary"
				}
				if r.Reason != "" {
					verdict += ": " + r.Reason
				}
				if digest == "" {
					digest = "-"
				}
				fmt.Fprintf(t, "%s/%d\t%d\t%d\t%d\t%s\t%d\t%s\t%s\n", v.Collection, s.Shard, s.Epoch, s.Seq, r.Peer, state, r.Applied, digest, verdict)
			}
		}
	}
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(out, "%d replicas: %d equal, %d differ, %d not compared\n", replicas, count["equal"], count["differs"], count["not compared"])
	return err
}
