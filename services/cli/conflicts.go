package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	clusterv1 "github.com/pandodb/pando/gen/go/pando/cluster/v1"
)

func conflictsCommand(w IO) *cobra.Command {
	c := &cobra.Command{
		Use:   "conflicts",
		Short: "List acknowledged writes that lost to later ones",
		Long: `Lists writes that were acknowledged while a replica was cut off from the control plane and from the other replicas,
and of which a later write left nothing, or not all: of two writes of the same field of a point, the later stamp counts.

  lost          a later write has all of it
  partly lost   a later write has some of its fields
  too late      its replica was away for so long that nobody could tell whether it was in the log; it was not applied

Each peer remembers the newest 1,000 that its own replicas have seen, and is asked for these alone: replicas that were
Active at that time have seen the same, others nothing. They are counted in the metric pando_data_conflicts.`,
		Example: "  pando cluster conflicts\n  pando cluster conflicts --json",
		Args:    cobra.NoArgs,
	}
	conn := connectionFlags(c, w)
	asJSON := c.Flags().Bool("json", false, "print JSON, an object a line")
	c.RunE = func(c *cobra.Command, _ []string) error {
		cc, err := conn.dial()
		if err != nil {
			return err
		}
		defer cc.Close()
		var r *clusterv1.ListConflictsResponse
		if err := conn.call(c.Context(), func(ctx context.Context) (err error) {
			r, err = clusterv1.NewClusterClient(cc).ListConflicts(ctx, &clusterv1.ListConflictsRequest{})
			return err
		}); err != nil {
			return err
		}
		out := c.OutOrStdout()
		if *asJSON {
			enc := json.NewEncoder(out)
			for _, x := range r.GetResult() {
				if err := enc.Encode(conflictOf(x)); err != nil {
					return err
				}
			}
			return nil
		}
		if len(r.GetResult()) == 0 {
			_, err := fmt.Fprintln(out, "no acknowledged write has lost to a later one")
			return err
		}
		t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
		fmt.Fprintln(t, "SHARD\tPOINT\tEFFECT\tWRITTEN\tLATER ONE\tOPERATION")
		for _, x := range r.GetResult() {
			v := conflictOf(x)
			later := "-"
			if v.Winner != nil {
				later = v.Winner.Format(time.RFC3339Nano)
			}
			fmt.Fprintf(t, "%s/%d\t%s\t%s\t%s\t%s\t%s\n", v.Collection, v.Shard, v.Point, v.Effect, v.Written.Format(time.RFC3339Nano), later, v.Operation)
		}
		return t.Flush()
	}
	return c
}

type conflictView struct {
	Collection string     `json:"collection"`
	Shard      uint64     `json:"shard"`
	Point      string     `json:"point,omitempty"`
	Effect     string     `json:"effect"`
	Written    time.Time  `json:"written"`
	Winner     *time.Time `json:"later_one,omitempty"`
	Operation  string     `json:"operation"`
}

func conflictOf(x *clusterv1.Conflict) conflictView {
	v := conflictView{Collection: x.GetCollectionName(), Shard: x.GetShardId(), Point: x.GetPoint(), Effect: x.GetEffect(),
		Written: x.GetStamp().AsTime(), Operation: x.GetOperation()}
	if x.GetWinner() != nil {
		v.Winner = new(x.GetWinner().AsTime())
	}
	return v
}
