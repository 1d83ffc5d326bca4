package cli

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	clusterv1 "github.com/pandodb/pando/gen/go/pando/cluster/v1"
	"github.com/pandodb/pando/gen/go/qdrant"
)

// collectionView is a collection as the peer that was asked sees it.
type collectionView struct {
	Name      string         `json:"name"`
	Shards    []shardView    `json:"shards"`
	Transfers []transferView `json:"transfers,omitempty"`
	Error     string         `json:"error,omitempty"` // why its shards are not known, or not all of them answer
}

type shardView struct {
	ID       uint32        `json:"id"`
	Key      string        `json:"key,omitempty"`
	Points   *uint64       `json:"points,omitempty"` // known where the peer holds a replica
	Replicas []replicaView `json:"replicas"`
}

type replicaView struct {
	Peer  uint64 `json:"peer"`
	State string `json:"state"`
}

type transferView struct {
	Shard   uint32 `json:"shard"`
	From    uint64 `json:"from"`
	To      uint64 `json:"to"`
	Comment string `json:"comment,omitempty"` // how far it has come
}

// collectionViews asks for all collections, or only the one that is named. One that cannot be described does not hide
// the others; one that is gone by then is left out.
func collectionViews(ctx context.Context, conn *connection, cc *grpc.ClientConn, only string) ([]collectionView, error) {
	c := qdrant.NewCollectionsClient(cc)
	names := []string{only}
	if only == "" {
		names = nil
		if err := conn.call(ctx, func(ctx context.Context) error {
			r, err := c.List(ctx, &qdrant.ListCollectionsRequest{})
			for _, d := range r.GetCollections() {
				names = append(names, d.GetName())
			}
			return err
		}); err != nil {
			return nil, err
		}
	}
	slices.Sort(names)
	views := make([]collectionView, len(names))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(8)
	for i, name := range names {
		g.Go(func() error {
			ctx, cancel := context.WithTimeout(ctx, conn.timeout)
			defer cancel()
			r, err := clusterv1.NewClusterClient(cc).CollectionCluster(ctx, &clusterv1.CollectionClusterRequest{CollectionName: name})
			if status.Code(err) == codes.NotFound && only == "" {
				return nil
			}
			if err != nil && only != "" {
				return conn.explain(err)
			}
			views[i] = collectionOf(name, r)
			if err == nil && silent(r) {
				_, err = c.Get(ctx, &qdrant.GetCollectionInfoRequest{CollectionName: name})
			}
			if err != nil {
				views[i].Error = status.Convert(err).Message()
			}
			return nil
		})
	}
	err := g.Wait()
	return slices.DeleteFunc(views, func(v collectionView) bool { return v.Name == "" }), err
}

// silent tells whether a replica may not answer: its points show as 0 then, as those of an empty one do.
func silent(r *clusterv1.CollectionClusterResponse) bool {
	return slices.ContainsFunc(r.GetLocalShards(), func(l *qdrant.LocalShardInfo) bool { return l.GetPointsCount() == 0 })
}

func collectionOf(name string, r *clusterv1.CollectionClusterResponse) collectionView {
	v := collectionView{Name: name, Shards: []shardView{}}
	at := map[uint32]int{}
	shard := func(id uint32, key *qdrant.ShardKey) *shardView {
		i, ok := at[id]
		if !ok {
			i = len(v.Shards)
			at[id] = i
			v.Shards = append(v.Shards, shardView{ID: id, Key: keyText(key)})
		}
		return &v.Shards[i]
	}
	for _, l := range r.GetLocalShards() {
		s := shard(l.GetShardId(), l.GetShardKey())
		s.Points = &l.PointsCount
		s.Replicas = append(s.Replicas, replicaView{r.GetPeerId(), l.GetState().String()})
	}
	for _, o := range r.GetRemoteShards() {
		s := shard(o.GetShardId(), o.GetShardKey())
		s.Replicas = append(s.Replicas, replicaView{o.GetPeerId(), o.GetState().String()})
	}
	slices.SortFunc(v.Shards, func(a, b shardView) int { return cmp.Compare(a.ID, b.ID) })
	for _, s := range v.Shards {
		slices.SortFunc(s.Replicas, func(a, b replicaView) int { return cmp.Compare(a.Peer, b.Peer) })
	}
	for _, t := range r.GetShardTransfers() {
		v.Transfers = append(v.Transfers, transferView{t.GetShardId(), t.GetFrom(), t.GetTo(), t.GetComment()})
	}
	return v
}

func keyText(k *qdrant.ShardKey) string {
	switch k := k.GetKey().(type) {
	case *qdrant.ShardKey_Keyword:
		return k.Keyword
	case *qdrant.ShardKey_Number:
		return strconv.FormatUint(k.Number, 10)
	}
	return ""
}

// printCollections writes a line per shard: what is not Active stands out by being spelled in capitals.
func printCollections(w io.Writer, views []collectionView) {
	if len(views) == 0 {
		return
	}
	fmt.Fprintln(w, "\nCOLLECTION\tSHARD\tPOINTS\tREPLICAS")
	for _, v := range views {
		why, _, _ := strings.Cut(v.Error, "\n") // the rest is in JSON
		switch {
		case why != "" && len(v.Shards) == 0:
			fmt.Fprintf(w, "%s\t-\t-\tnot known: %s\n", v.Name, why)
		case why != "":
			fmt.Fprintf(w, "%s\t-\t-\tFAILS: %s\n", v.Name, why)
		}
		for _, s := range v.Shards {
			points, name := "-", strconv.FormatUint(uint64(s.ID), 10)
			if s.Points != nil {
				points = strconv.FormatUint(*s.Points, 10)
			}
			if s.Key != "" {
				name += " (" + s.Key + ")"
			}
			replicas := make([]string, 0, len(s.Replicas))
			for _, r := range s.Replicas {
				state := r.State
				if state != qdrant.ReplicaState_Active.String() {
					state = strings.ToUpper(state)
				}
				replicas = append(replicas, fmt.Sprintf("%s on %d", state, r.Peer))
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", v.Name, name, points, strings.Join(replicas, ", "))
		}
		for _, t := range v.Transfers {
			fmt.Fprintf(w, "%s\t%d\t\ttransfer from %d to %d", v.Name, t.Shard, t.From, t.To)
			if t.Comment != "" {
				fmt.Fprintf(w, ": %s", t.Comment)
			}
			fmt.Fprintln(w)
		}
	}
}
