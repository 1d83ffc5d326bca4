package etcdstore_test

import (
	"context"
	"errors"
	"net/url"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3client"

	"github.com/pandodb/pando/services/controlplane/internal/store"
	"github.com/pandodb/pando/services/controlplane/internal/store/etcdstore"
	"github.com/pandodb/pando/services/controlplane/internal/store/storetest"
)

// TestConformance runs the suite on one real member that listens nowhere.
func TestConformance(t *testing.T) {
	cfg := embed.NewConfig()
	name := url.URL{Scheme: "unix", Host: "m.pando.internal:6335"}
	cfg.Name, cfg.Dir, cfg.LogLevel = "m", t.TempDir(), "fatal"
	cfg.ListenPeerUrls, cfg.ListenClientUrls, cfg.AdvertiseClientUrls = nil, nil, nil
	cfg.AdvertisePeerUrls = []url.URL{name}
	cfg.InitialCluster = "m=" + name.String()
	cfg.TickMs, cfg.ElectionMs = 50, 500
	cfg.UnsafeNoFsync = true
	e, err := embed.StartEtcd(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	<-e.Server.ReadyNotify()
	client := v3client.New(e.Server)
	defer client.Close()
	storetest.Run(t, func(*testing.T) storetest.Harness {
		return storetest.Harness{Store: etcdstore.New(func() *clientv3.Client { return client }), Compact: func(ctx context.Context, revision int64) error {
			_, err := client.Compact(ctx, revision)
			return err
		}}
	})
}

func TestNotRunning(t *testing.T) {
	s := etcdstore.New(func() *clientv3.Client { return nil })
	if _, err := s.Get(t.Context(), store.LeaderKey); !errors.Is(err, store.ErrUnavailable) {
		t.Fatalf("got %v", err)
	}
}
