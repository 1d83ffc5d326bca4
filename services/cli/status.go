package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"google.golang.org/grpc"

	clusterv1 "github.com/pandodb/pando/gen/go/pando/cluster/v1"
	"github.com/pandodb/pando/services/internal/boot"
)

func clusterCommand(w IO) *cobra.Command {
	c := &cobra.Command{Use: "cluster", Short: "Look at the cluster, and mend what it cannot mend by itself"}
	st := &cobra.Command{
		Use:   "status",
		Short: "Show peers, control plane and shards as one peer sees them",
		Long: `Ask one peer (--addr) for the cluster as it sees it: the peers and what each is in the control plane (leader, voter,
learner or none), how far it has followed, shards that go on without a control plane, and every shard of every
collection with the state of its replicas and the transfers that are under way. Of a replica that is not Active it tells
why, since when, and what is next. Points are counted where that peer holds a replica. It answers also when there is no
quorum.

--watch shows it again and again, every second or as often as --watch=… says: in place on a terminal, one below the
other elsewhere, with --json one object a line. While the peer does not answer, that is shown. Ctrl-C ends it.`,
		Example: `  pando cluster status
  pando cluster status --collection words
  pando cluster status --watch=500ms
  pando cluster status --addr peer-2:6334 --json | jq '.peers | length'
  pando cluster status --watch --json | jq -c '.inactive_replicas'`,
	}
	conn := connectionFlags(st, w)
	asJSON := st.Flags().Bool("json", false, "print JSON")
	only := st.Flags().String("collection", "", "show the shards of this collection only")
	every := st.Flags().Duration("watch", 0, "show it again and again, so often (--watch=500ms)")
	st.Flags().Lookup("watch").NoOptDefVal = "1s"
	st.RunE = func(c *cobra.Command, _ []string) error {
		if st.Flags().Changed("watch") && *every < minEvery {
			return boot.Exit(boot.ExitUsage, fmt.Errorf("--watch=%v: it must be %v at least", *every, minEvery))
		}
		cc, err := conn.dial()
		if err != nil {
			return err
		}
		defer cc.Close()
		look := func(ctx context.Context) (statusView, error) { return lookAt(ctx, conn, cc, *only) }
		if *every > 0 {
			ctx, stop := signal.NotifyContext(c.Context(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
			defer stop()
			return watch{look: look, every: *every, json: *asJSON, addr: conn.addr, out: c.OutOrStdout()}.run(ctx)
		}
		view, err := look(c.Context())
		if err != nil {
			return err
		}
		if *asJSON {
			enc := json.NewEncoder(c.OutOrStdout())
			enc.SetIndent("", "  ")
			return enc.Encode(view)
		}
		return view.print(c.OutOrStdout(), time.Now())
	}
	c.AddCommand(st, verifyCommand(w), forceCommand(w), conflictsCommand(w))
	return c
}

// lookAt asks a peer for the cluster.
func lookAt(ctx context.Context, conn *connection, cc *grpc.ClientConn, only string) (statusView, error) {
	var resp *clusterv1.ClusterStatusResponse
	if err := conn.call(ctx, func(ctx context.Context) (err error) {
		resp, err = clusterv1.NewClusterClient(cc).ClusterStatus(ctx, &clusterv1.ClusterStatusRequest{})
		return err
	}); err != nil {
		return statusView{}, err
	}
	view := viewOf(resp.GetResult())
	var err error
	view.Collections, err = collectionViews(ctx, conn, cc, only)
	view.Inactive = slices.DeleteFunc(view.Inactive, func(i inactiveView) bool { return only != "" && i.Collection != only })
	return view, err
}

// statusView is what is shown, as a table and as JSON.
type statusView struct {
	Enabled  bool           `json:"enabled"`
	PeerID   uint64         `json:"peer_id,omitempty"`
	Peers    []peerView     `json:"peers"`
	Control  *controlView   `json:"control_plane,omitempty"`
	Failures []failureView  `json:"send_failures,omitempty"`
	Detached []detachedView `json:"detached_shards,omitempty"`

	Collections []collectionView `json:"collections"`
	Inactive    []inactiveView   `json:"inactive_replicas,omitempty"`
}

// inactiveView is a replica that is not Active.
type inactiveView struct {
	Collection string    `json:"collection"`
	Shard      uint64    `json:"shard"`
	Peer       uint64    `json:"peer"`
	State      string    `json:"state"`
	Since      time.Time `json:"since"`
	Why        string    `json:"why"`
	Next       string    `json:"next"`
}

type peerView struct {
	ID     uint64 `json:"id"`
	URI    string `json:"uri"`
	Self   bool   `json:"self"`
	Leader bool   `json:"leader"`
	// Member of the control plane: voter, learner, or empty for none. Unreachable only where there is one.
	Member      string `json:"member,omitempty"`
	Unreachable bool   `json:"unreachable,omitempty"`
}

type controlView struct {
	Term    uint64 `json:"term"`
	Commit  uint64 `json:"commit"`
	Pending uint64 `json:"pending"`
	Role    string `json:"role"`
	Voter   bool   `json:"voter"`
	Follows string `json:"follows"` // working, stopped, or why not

	Voters   int    `json:"voters"`
	Learners int    `json:"learners"`
	Even     string `json:"even,omitempty"` // why the number of voters is even
}

type failureView struct {
	URI   string `json:"uri"`
	Count uint64 `json:"count"`
	Error string `json:"error"`
}

type detachedView struct {
	Collection  string    `json:"collection"`
	Shard       uint64    `json:"shard"`
	Since       time.Time `json:"since"`
	Provisional uint64    `json:"provisional_operations"`
}

func viewOf(s *clusterv1.ClusterStatus) statusView {
	v := statusView{Enabled: s.GetStatus() == clusterv1.ClusterStatus_MODE_ENABLED, PeerID: s.GetPeerId(), Peers: []peerView{}}
	raft := s.GetRaftInfo()
	members := map[uint64]*clusterv1.ControlMember{}
	voters := 0
	for _, m := range s.GetControlMembers() {
		members[m.GetPeerId()] = m
		if m.GetVoter() {
			voters++
		}
	}
	for _, id := range slices.Sorted(maps.Keys(s.GetPeers())) {
		p := peerView{ID: id, URI: s.GetPeers()[id].GetUri(), Self: id == s.GetPeerId(), Leader: raft != nil && raft.Leader != nil && raft.GetLeader() == id}
		if m, ok := members[id]; ok {
			p.Member, p.Unreachable = "learner", !m.GetReachable()
			if m.GetVoter() {
				p.Member = "voter"
			}
		}
		v.Peers = append(v.Peers, p)
	}
	if raft != nil {
		follows := strings.ToLower(strings.TrimPrefix(s.GetConsensusThreadStatus().GetConsensusThreadStatus().String(), "STATE_"))
		if e := s.GetConsensusThreadStatus().GetErr(); e != "" {
			follows += ": " + e
		}
		v.Control = &controlView{Term: raft.GetTerm(), Commit: raft.GetCommit(), Pending: raft.GetPendingOperations(), Voter: raft.GetIsVoter(),
			Role: strings.ToLower(strings.TrimPrefix(raft.GetRole().String(), "ROLE_")), Follows: follows,
			Voters: voters, Learners: len(members) - voters, Even: s.GetEvenVoters()}
	}
	for _, uri := range slices.Sorted(maps.Keys(s.GetMessageSendFailures())) {
		f := s.GetMessageSendFailures()[uri]
		v.Failures = append(v.Failures, failureView{uri, f.GetCount(), f.GetLatestError()})
	}
	for _, d := range s.GetDetachedShards() {
		v.Detached = append(v.Detached, detachedView{d.GetCollectionName(), d.GetShardId(), d.GetSince().AsTime(), d.GetProvisionalOperations()})
	}
	for _, r := range s.GetInactiveReplicas() {
		v.Inactive = append(v.Inactive, inactiveView{Collection: r.GetCollectionName(), Shard: r.GetShardId(), Peer: r.GetPeerId(),
			State: r.GetState().String(), Since: r.GetSince().AsTime(), Why: r.GetReason(), Next: r.GetNext()})
	}
	return v
}

// role of a peer in the control plane.
func (p peerView) role() string {
	if p.Leader {
		return "leader"
	}
	return cmp.Or(p.Member, "none")
}

func (v statusView) print(w io.Writer, now time.Time) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	if !v.Enabled {
		fmt.Fprintln(t, "standalone: cluster.enabled is false")
		printCollections(t, v.Collections)
		return t.Flush()
	}
	fmt.Fprintln(t, "PEER\tURI\tROLE\t")
	for _, p := range v.Peers {
		notes := []string{}
		if p.Unreachable {
			notes = append(notes, "does not answer")
		}
		if p.Self {
			notes = append(notes, "answers this")
		}
		fmt.Fprintf(t, "%d\t%s\t%s\t%s\n", p.ID, p.URI, p.role(), strings.Join(notes, ", "))
	}
	if c := v.Control; c != nil {
		fmt.Fprintf(t, "\ncontrol plane\tterm %d, revision %d, %d pending, %s, %s, %d voters, %d learners\n", c.Term, c.Commit, c.Pending, c.Role, c.Follows,
			c.Voters, c.Learners)
		if c.Even != "" {
			fmt.Fprintf(t, "even number\t%s\n", c.Even)
		}
	}
	for _, f := range v.Failures {
		fmt.Fprintf(t, "cannot reach\t%s\t%d times: %s\n", f.URI, f.Count, f.Error)
	}
	for _, d := range v.Detached {
		fmt.Fprintf(t, "detached\t%s/%d\tsince %s, %d provisional operations\n", d.Collection, d.Shard, d.Since.Format(time.RFC3339), d.Provisional)
	}
	printCollections(t, v.Collections)
	if err := t.Flush(); err != nil {
		return err
	}
	printInactive(w, v.Inactive, now)
	return nil
}

// printInactive tells why replicas are not Active. The sentences are long: they stand in lines of their own.
func printInactive(w io.Writer, inactive []inactiveView, now time.Time) {
	for i, r := range inactive {
		if i == 0 {
			fmt.Fprintln(w, "\nNOT ACTIVE")
		}
		fmt.Fprintf(w, "%s, shard %d on peer %d: %s since %s (%v): %s; %s\n", r.Collection, r.Shard, r.Peer, r.State, r.Since.Format(time.RFC3339),
			max(0, now.Sub(r.Since)).Round(time.Second), r.Why, r.Next)
	}
}
