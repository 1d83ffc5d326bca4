//! What a cluster is asked: where the replicas are, and the same points through every peer.

use std::time::{Duration, Instant};

use qdrant_client::qdrant::{Distance, ReplicaState};
use serde_json::json;

use crate::suite::{Result, Suite};
use crate::truth::{COUNT, DIM, SHARDS, Truth, name, payload, vector};

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Replica {
    pub shard: u32,
    pub peer: u64,
    pub active: bool,
}

impl Suite {
    /// The sample of Qdrant's documentation: six shards, each on two peers, are twelve replicas.
    pub async fn sample(&mut self) {
        let own = self.collection.clone();
        self.collection += "_sample";
        self.part("sample", Suite::make).await;
        self.placement(15).await;
        self.truth = Truth::filled();
        let all = self.truth.all();
        for ids in all.chunks(100) {
            self.part("load", async |s: &mut Suite| s.store(ids).await).await;
        }
        self.work().await;
        self.collection = own;
        self.truth = Truth::new(Distance::Cosine);
    }

    /// The same collection in a later run, with a peer down or back.
    pub async fn sample_again(&mut self, back: bool) {
        self.collection += "_sample";
        self.truth = Truth::filled();
        if back {
            self.placement(120).await;
        }
        self.work().await;
    }

    /// The number of shards, and the replicas in the order of their shards.
    pub async fn placed(&self) -> Result<(u64, Vec<Replica>)> {
        let info = self.client.collection_cluster_info(&self.collection).await?;
        let active = |state| state == ReplicaState::Active;
        let local = info.local_shards.iter().map(|s| Replica { shard: s.shard_id, peer: info.peer_id, active: active(s.state()) });
        let remote = info.remote_shards.iter().map(|s| Replica { shard: s.shard_id, peer: s.peer_id, active: active(s.state()) });
        let mut replicas: Vec<_> = local.chain(remote).collect();
        replicas.sort();
        Ok((info.shard_count, replicas))
    }

    /// Every peer tells of the same replicas, all active after some seconds.
    async fn placement(&mut self, seconds: u64) {
        let want = (SHARDS * self.factor.unwrap_or(1)) as usize;
        let mut first = None;
        for _ in 0..self.clients.len() {
            let first = &mut first;
            self.part("placement", async |s: &mut Suite| {
                let until = Instant::now() + Duration::from_secs(seconds);
                let (mut shards, mut replicas) = s.placed().await?;
                while (replicas.len() != want || !replicas.iter().all(|r| r.active)) && Instant::now() < until {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    (shards, replicas) = s.placed().await?;
                }
                s.ok("all replicas are active", replicas.iter().all(|r| r.active), &replicas);
                s.check("every peer says the same", replicas.clone(), first.get_or_insert_with(|| replicas.clone()).clone());
                let physical = replicas.len();
                s.check("physical shards", physical, want);
                replicas.dedup_by_key(|r| (r.shard, r.peer));
                s.check("no two replicas of a shard on one peer", replicas.len(), physical);
                replicas.dedup_by_key(|r| r.shard);
                s.check("logical shards", (shards, replicas.len()), (SHARDS.into(), SHARDS as usize));
                Ok(())
            })
            .await;
        }
    }

    /// Reads, writes and searches through each peer; leaves the collection as it was.
    async fn work(&mut self) {
        let peers = self.clients.len() as u64;
        for _ in 0..peers {
            self.part("survey", Suite::survey).await;
        }
        for k in 0..peers {
            self.part("write", async |s: &mut Suite| {
                let (old, fresh) = (name(k), name(1000 + k));
                s.truth.put(fresh.clone(), vector(k, DIM), payload(k));
                s.store(std::slice::from_ref(&fresh)).await?;
                s.truth.payload_mut(&old)["through"] = json!(k);
                s.set_payload(&old, &json!({"through": k})).await?;
                s.holds("sample: written", &[old, fresh]).await
            })
            .await;
        }
        for _ in 0..peers {
            self.part("survey after writes", Suite::survey).await;
        }
        for k in (0..peers).rev() {
            self.part("undo", async |s: &mut Suite| {
                let (old, fresh) = (name(k), name(1000 + k));
                s.truth.drop(std::slice::from_ref(&fresh));
                s.remove(&[fresh]).await?;
                *s.truth.payload_mut(&old) = payload(k);
                s.overwrite_payload(&old, &payload(k)).await?;
                s.holds("sample: undone", &[old]).await
            })
            .await;
        }
        self.part("survey after all", Suite::survey).await;
    }

    async fn survey(&mut self) -> Result {
        let q = vector(10_001, DIM);
        let want = self.truth.nearest(&q, |_, _| true);
        let total = self.count().await?;
        self.check("sample: count", total, want.len() as u64);
        self.holds("sample", &self.truth.all()).await?;
        let got = self.ask(q, 2 * COUNT).await?;
        self.hits("sample: query", &got, &want);
        self.check("sample: query for all", got.len(), want.len());
        Ok(())
    }
}
