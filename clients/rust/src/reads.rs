//! Reads: by id, by vector, page by page, and what a collection says of itself.

use qdrant_client::qdrant::vectors_config::Config;
use qdrant_client::qdrant::{
    CollectionStatus, Condition, CountPointsBuilder, Distance, Filter, GetPointsBuilder, PayloadExcludeSelector, PayloadIncludeSelector,
    PointId, Query, QueryBatchPointsBuilder, QueryPointsBuilder, ScoredPoint, ScrollPointsBuilder, SearchBatchPointsBuilder,
    SearchPointsBuilder, with_payload_selector,
};
use serde_json::{Value, json};

use crate::filters::{at_least, flag, number};
use crate::suite::{Result, Suite, dense, ids_of, ids_of_hits, in_order, json_of};
use crate::truth::{ABSENT, COUNT, DIM, SHARDS, name, names, near_all, vector, wire};

impl Suite {
    pub async fn service(&mut self) -> Result {
        let health = self.client.health_check().await?;
        self.ok("the version of the API", health.version.starts_with("1.19."), &health);
        self.check("a commit of 40 characters", health.commit().len(), 40);
        Ok(())
    }

    pub async fn count(&self) -> Result<u64> {
        let counted = self.client.count(CountPointsBuilder::new(&self.collection).exact(true)).await?;
        Ok(counted.result.unwrap_or_default().count)
    }

    pub async fn get(&mut self) -> Result {
        for from in (0..COUNT).step_by(200) {
            self.holds("get", &names(from..from + 200)).await?;
        }
        let absent = self.retrieve(&[ABSENT]).await?;
        self.check("get of an absent id", absent, vec![]);
        let some = self.client.get_points(GetPointsBuilder::new(&self.collection, wire(&[name(3), ABSENT, name(9)]))).await?.result;
        self.check("get leaves absent ids out", in_order(ids_of(&some)), vec![name(3), name(9)]);
        self.ok("vectors are not sent unasked", some.iter().all(|p| p.vectors.is_none()), &some);
        let none = self.payload_of_3(false).await?;
        self.check("get without payload", none, json!({}));
        let part = self.payload_of_3(PayloadIncludeSelector::from(vec!["color".to_string(), "nested.deep".into()])).await?;
        self.check("get with some keys", part, json!({"color": "red", "nested": {"deep": 3}}));
        let rest = self.payload_of_3(PayloadExcludeSelector::from(vec!["nested".to_string(), "tags".into(), "maybe".into()])).await?;
        self.check("get without some keys", rest, json!({"n": 3, "color": "red", "price": 0.75, "flag": false}));
        Ok(())
    }

    async fn payload_of_3(&self, keys: impl Into<with_payload_selector::SelectorOptions>) -> Result<Value> {
        let got = self.client.get_points(GetPointsBuilder::new(&self.collection, wire(&[name(3)])).with_payload(keys)).await?.result;
        Ok(got.into_iter().next().map_or(Value::Null, |p| json_of(p.payload)))
    }

    pub async fn ask(&self, query: impl Into<Query>, limit: u64) -> Result<Vec<ScoredPoint>> {
        Ok(self.client.query(QueryPointsBuilder::new(&self.collection).query(query).limit(limit)).await?.result)
    }

    pub async fn query(&mut self) -> Result {
        let q = vector(10_001, DIM);
        let want = self.truth.nearest(&q, |_, _| true);
        let query = QueryPointsBuilder::new(&self.collection).query(q.clone());
        let top = self.client.query(query.clone().with_payload(true).with_vectors(true)).await?.result;
        self.hits("query by vector", &top, &want);
        self.check("query: ten by default", top.len(), 10);
        for h in top {
            let id = h.id.into();
            self.check("query: payload", json_of(h.payload), self.truth.payload(&id).clone());
            self.ok("query: vector", near_all(&dense(h.vectors, ""), &self.truth.stored(&id)), id);
        }
        let bare = self.ask(q.clone(), 1).await?;
        self.ok("query: nothing unasked", bare.len() == 1 && bare[0].payload.is_empty() && bare[0].vectors.is_none(), &bare);
        let every = self.ask(q.clone(), 2 * COUNT).await?;
        self.hits("query for all", &every, &want);
        self.check("query for all: all of them", every.len(), COUNT as usize);
        for id in [name(5), name(19)] {
            let near = self.ask(PointId::from(id.clone()), 8).await?;
            self.hits("query by id", &near, &self.truth.nearest(&self.truth.points[&id].0, |other, _| *other != id));
            self.check("query by id: count", near.len(), 8);
        }
        let later = self.client.query(query.clone().limit(7).offset(13)).await?.result;
        self.hits("query with offset", &later, &want[13..]);
        self.check("query with offset: count", later.len(), 7);
        let past = self.client.query(query.clone().offset(COUNT)).await?.result;
        self.check("query with offset past the end", past, vec![]);
        let cut = (want[24].score + want[25].score) / 2.0;
        let above = self.client.query(query.limit(100).score_threshold(cut as f32)).await?.result;
        self.hits("query with threshold", &above, &want);
        self.check("query with threshold: count", above.len(), 25);
        let plain = self.client.query(QueryPointsBuilder::new(&self.collection).limit(6)).await?.result;
        self.check("query for nothing: by id", ids_of_hits(&plain), self.truth.all()[..6].to_vec());
        self.query_batch().await
    }

    async fn query_batch(&mut self) -> Result {
        let queries: Vec<_> =
            (0..5).map(|k| QueryPointsBuilder::new(&self.collection).query(vector(20_000 + k, DIM)).limit(3 + k).build()).collect();
        let answers = self.client.query_batch(QueryBatchPointsBuilder::new(&self.collection, queries)).await?.result;
        self.check("batch: an answer each", answers.iter().map(|a| a.result.len()).collect(), vec![3, 4, 5, 6, 7]);
        for (k, a) in answers.iter().enumerate() {
            self.hits("batch: rank", &a.result, &self.truth.nearest(&vector(20_000 + k as u64, DIM), |_, _| true));
        }
        Ok(())
    }

    /// The older form of query.
    pub async fn search(&mut self) -> Result {
        let q = vector(10_003, DIM);
        let want = self.truth.nearest(&q, |_, p| number(p) >= 300 && number(p) != u64::MAX);
        let filter = Filter::must([Condition::range("n", at_least(300.0))]);
        let ask = |limit| {
            SearchPointsBuilder::new(&self.collection, q.clone(), limit).filter(filter.clone()).offset(2).with_payload(true).build()
        };
        let (one, many) = (ask(9), SearchBatchPointsBuilder::new(&self.collection, vec![ask(9), ask(2)]));
        let got = self.client.search_points(one).await?.result;
        self.hits("search", &got, &want[2..]);
        self.check("search: count", got.len(), 9);
        for h in got {
            self.check("search: payload", json_of(h.payload), self.truth.payload(&h.id.into()).clone());
        }
        let many = self.client.search_batch_points(many).await?.result;
        self.check("search in a batch", many.iter().map(|r| r.result.len()).collect(), vec![9, 2]);
        for r in many {
            self.hits("search in a batch: rank", &r.result, &want[2..]);
        }
        Ok(())
    }

    pub async fn scroll(&mut self) -> Result {
        let odd = Filter::must_not([Condition::matches("flag", true)]);
        self.scroll_through("all", Filter::default(), |_| true).await?;
        self.scroll_through("filtered", odd, |p| !flag(p)).await?;
        let page = self.client.scroll(ScrollPointsBuilder::new(&self.collection)).await?;
        let all = self.truth.all();
        self.check("scroll: ten by default", ids_of(&page.result), all[..10].to_vec());
        self.check("scroll: where to go on", page.next_page_offset.into(), all[10].clone());
        Ok(())
    }

    async fn scroll_through(&mut self, what: &str, filter: Filter, keep: fn(&Value) -> bool) -> Result {
        let want = self.truth.ids(|_, p| keep(p));
        let request = ScrollPointsBuilder::new(&self.collection).filter(filter).limit(37).with_payload(true);
        let (mut seen, mut pages) = (vec![], 0);
        let mut page = self.client.scroll(request.clone()).await?;
        loop {
            seen.append(&mut page.result);
            pages += 1;
            match page.next_page_offset {
                Some(offset) if pages <= COUNT as usize => page = self.client.scroll(request.clone().offset(offset)).await?,
                _ => break,
            }
        }
        self.check(&format!("scroll {what}: every id once, in order"), ids_of(&seen), want.clone());
        let payloads = seen.into_iter().map(|p| json_of(p.payload)).collect();
        self.check(&format!("scroll {what}: payloads"), payloads, want.iter().map(|id| self.truth.payload(id).clone()).collect::<Vec<_>>());
        self.check(&format!("scroll {what}: pages"), pages, want.len().div_ceil(37));
        Ok(())
    }

    pub async fn info(&mut self) -> Result {
        let info = self.client.collection_info(&self.collection).await?.result.unwrap_or_default();
        self.check("status", info.status(), CollectionStatus::Green);
        self.check("points", info.points_count, Some(self.truth.points.len() as u64));
        let params = info.config.unwrap_or_default().params.unwrap_or_default();
        self.check("shards", params.shard_number, SHARDS);
        match params.vectors_config.and_then(|v| v.config) {
            Some(Config::Params(v)) => self.check("size and distance", (v.size, v.distance()), (DIM as u64, Distance::Cosine)),
            other => self.ok("size and distance", false, other),
        }
        let (_, mut placed) = self.placed().await?;
        self.ok("state of the shards", placed.iter().all(|r| r.active), &placed);
        placed.dedup_by_key(|r| r.shard);
        self.check("shards that are placed", placed.len(), SHARDS as usize);
        Ok(())
    }
}
