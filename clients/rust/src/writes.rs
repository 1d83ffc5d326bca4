//! Writes: collections, points, payloads, vectors, aliases, and what must be refused.

use std::collections::HashMap;

use qdrant_client::QdrantError;
use qdrant_client::qdrant::points_update_operation::{DeletePayload, DeletePoints, Operation, PointStructList, SetPayload, UpdateVectors};
use qdrant_client::qdrant::read_consistency::Value as Consistency;
use qdrant_client::qdrant::{
    ClearPayloadPointsBuilder, Condition, CountPointsBuilder, CreateAliasBuilder, CreateCollectionBuilder, DeletePayloadPointsBuilder,
    DeletePointVectorsBuilder, DeletePointsBuilder, Distance, Filter, GetPointsBuilder, NamedVectors, PointId, PointStruct, PointVectors,
    PointsUpdateOperation, QueryPointsBuilder, Range, ReadConsistencyType, RenameAliasBuilder, SetPayloadPointsBuilder,
    UpdateBatchPointsBuilder, UpdateMode, UpdatePointVectorsBuilder, UpdateStatus, UpsertPointsBuilder, Vector, VectorParamsBuilder,
    VectorsConfigBuilder, VectorsSelector, WriteOrdering, WriteOrderingType,
};
use serde_json::{Value, json};

use crate::suite::{Result, Suite, dense, ids_of_hits, in_order, json_of};
use crate::truth::{ABSENT, COUNT, DIM, Id, SHARDS, Truth, name, names, near_all, to_payload, vector, wire};

fn between(from: f64, to: f64) -> Filter {
    Filter::must([Condition::range("n", Range { gte: Some(from), lt: Some(to), ..Default::default() })])
}

fn row(id: u64, vector_of: u64, payload: Value) -> PointStruct {
    PointStruct::new(id, vector(vector_of, DIM), to_payload(&payload))
}

impl Suite {
    /// The collection, anew.
    pub async fn make(&mut self) -> Result {
        for c in [self.collection.clone(), format!("{}_named", self.collection)] {
            if self.client.collection_exists(&c).await? {
                self.client.delete_collection(&c).await?;
            }
        }
        let exists = self.client.collection_exists(&self.collection).await?;
        self.check("exists before it is created", exists, false);
        let mut request = CreateCollectionBuilder::new(&self.collection)
            .vectors_config(VectorParamsBuilder::new(DIM as u64, Distance::Cosine))
            .shard_number(SHARDS);
        if let Some(factor) = self.factor {
            request = request.replication_factor(factor);
        }
        let made = self.client.create_collection(request).await?.result;
        self.check("create", made, true);
        self.seen_by_all().await
    }

    pub async fn create(&mut self) -> Result {
        self.make().await?;
        let collections = self.client.list_collections().await?.collections;
        self.ok("list", collections.iter().any(|c| c.name == self.collection), &collections);
        Ok(())
    }

    async fn store_points(&self, points: Vec<PointStruct>) -> Result<UpdateStatus> {
        let done = self.client.upsert_points(UpsertPointsBuilder::new(&self.collection, points).wait(true)).await?;
        Ok(done.result.unwrap_or_default().status())
    }

    /// Sends points as the truth has them.
    pub async fn store(&mut self, ids: &[Id]) -> Result {
        let status = self.store_points(ids.iter().map(|id| self.truth.point(id)).collect()).await?;
        self.check("upsert", status, UpdateStatus::Completed);
        Ok(())
    }

    pub async fn upsert(&mut self) -> Result {
        self.truth = Truth::filled();
        for from in (0..COUNT).step_by(100) {
            self.store(&names(from..from + 100)).await?;
        }
        let total = self.count().await?;
        self.check("count", total, COUNT);
        self.store(&[name(1), name(2)]).await?;
        let total = self.count().await?;
        self.check("count after upserting again", total, COUNT);
        self.store_points(vec![row(7, 1, json!({"n": -1})), self.truth.point(&name(7))]).await?;
        self.holds("of equal ids in one request the last counts", &[name(7)]).await?;
        let request = UpsertPointsBuilder::new(&self.collection, vec![self.truth.point(&name(5))]).wait(false);
        let late = self.client.upsert_points(request).await?.result.unwrap_or_default().status();
        self.ok("upsert without waiting", matches!(late, UpdateStatus::Acknowledged | UpdateStatus::Completed), late);
        Ok(())
    }

    pub async fn set_payload(&self, id: &Id, payload: &Value) -> Result {
        let request =
            SetPayloadPointsBuilder::new(&self.collection, to_payload(payload)).points_selector(wire(std::slice::from_ref(id))).wait(true);
        self.client.set_payload(request).await.map(|_| ())
    }

    pub async fn overwrite_payload(&self, id: &Id, payload: &Value) -> Result {
        let request =
            SetPayloadPointsBuilder::new(&self.collection, to_payload(payload)).points_selector(wire(std::slice::from_ref(id))).wait(true);
        self.client.overwrite_payload(request).await.map(|_| ())
    }

    pub async fn payloads(&mut self) -> Result {
        self.set_payload(&name(20), &json!({"extra": [1, 2.5, null], "n": 1000})).await?;
        let p = self.truth.payload_mut(&name(20));
        p["extra"] = json!([1, 2.5, null]);
        p["n"] = json!(1000);
        self.holds("set payload", &[name(20)]).await?;

        let some = to_payload(&json!({"extra": "z"}));
        self.client
            .set_payload(SetPayloadPointsBuilder::new(&self.collection, some).points_selector(between(21.0, 24.0)).wait(true))
            .await?;
        for i in 21..24 {
            self.truth.payload_mut(&name(i))["extra"] = json!("z");
        }
        self.holds("set payload by filter", &names(21..25)).await?;

        let under = SetPayloadPointsBuilder::new(&self.collection, to_payload(&json!({"new": {"x": 1}})))
            .key("nested")
            .points_selector([24])
            .wait(true);
        self.client.set_payload(under).await?;
        self.truth.payload_mut(&name(24))["nested"]["new"] = json!({"x": 1});
        self.holds("set payload under a key", &[name(24)]).await?;

        let only = json!({"only": {"this": true}});
        self.overwrite_payload(&name(25), &only).await?;
        *self.truth.payload_mut(&name(25)) = only;
        self.holds("overwrite payload", &[name(25)]).await?;

        let keys = ["color", "nested.deep", "no_such"].map(String::from);
        self.client.delete_payload(DeletePayloadPointsBuilder::new(&self.collection, keys).points_selector([26, 27]).wait(true)).await?;
        for i in [26, 27] {
            let p = self.truth.payload_mut(&name(i));
            p.as_object_mut().map(|p| p.remove("color"));
            p["nested"].as_object_mut().map(|p| p.remove("deep"));
        }
        self.holds("delete keys", &names(26..29)).await?;

        self.client.clear_payload(ClearPayloadPointsBuilder::new(&self.collection).points(wire(&names(28..30))).wait(true)).await?;
        for i in 28..30 {
            *self.truth.payload_mut(&name(i)) = json!({});
        }
        self.holds("clear payload", &names(28..31)).await?;

        *self.truth.payload_mut(&name(30)) = json!({
            "text": "Grüße, 日本語 🙂 \" \\ \n", "big": 1_i64 << 62, "small": -(1_i64 << 62), "float": 1.5, "whole": 2.0, "none": null, "empty": {},
            "list": [[], [1, "a", null]],
        });
        self.store(&[name(30)]).await?;
        self.holds("payload of every kind", &[name(30)]).await
    }

    pub async fn remove(&self, ids: &[Id]) -> Result {
        self.client.delete_points(DeletePointsBuilder::new(&self.collection).points(wire(ids)).wait(true)).await.map(|_| ())
    }

    pub async fn delete(&mut self) -> Result {
        let gone = names([31, 39].into_iter().chain(40..50));
        self.remove(&gone[..2]).await?;
        self.remove(&[ABSENT]).await?;
        self.client.delete_points(DeletePointsBuilder::new(&self.collection).points(between(40.0, 50.0)).wait(true)).await?;
        self.truth.drop(&gone);
        let left = self.retrieve(&gone).await?;
        self.check("deleted ones are absent", left, vec![]);
        let total = self.count().await?;
        self.check("count after delete", total, COUNT - 12);
        let q = vector(10_004, DIM);
        let got = self.ask(q.clone(), COUNT).await?;
        self.hits("query after delete", &got, &self.truth.nearest(&q, |_, _| true));
        self.check("query after delete: count", got.len(), COUNT as usize - 12);
        self.truth.put(name(31), vector(31, DIM), json!({"back": true}));
        self.store(&[name(31)]).await?;
        self.holds("a deleted id stored again", &[name(31)]).await
    }

    pub async fn batch(&mut self) -> Result {
        let only = || Some(vec![PointId::from(5000)].into());
        let operations = [
            Operation::Upsert(PointStructList {
                points: vec![row(5000, 5000, json!({"a": 1})), row(5001, 5000, json!({}))],
                ..Default::default()
            }),
            Operation::SetPayload(SetPayload {
                payload: to_payload(&json!({"b": 2})).into(),
                points_selector: only(),
                ..Default::default()
            }),
            Operation::DeletePayload(DeletePayload { keys: vec!["a".into()], points_selector: only(), ..Default::default() }),
            Operation::UpdateVectors(UpdateVectors {
                points: vec![PointVectors { id: Some(5000.into()), vectors: Some(vector(5002, DIM).into()) }],
                ..Default::default()
            }),
            Operation::DeletePoints(DeletePoints { points: Some(vec![PointId::from(5001)].into()), ..Default::default() }),
        ];
        let operations = operations.map(|o| PointsUpdateOperation { operation: Some(o) });
        let done = self.client.update_points_batch(UpdateBatchPointsBuilder::new(&self.collection, operations).wait(true)).await?.result;
        self.check("batch of writes: an answer each", done.iter().map(|d| d.status()).collect(), vec![UpdateStatus::Completed; 5]);
        self.truth.put(Id::Num(5000), vector(5002, DIM), json!({"b": 2}));
        self.holds("batch of writes, in order", &[Id::Num(5000)]).await?;
        let left = self.retrieve(&[Id::Num(5001)]).await?;
        self.check("batch of writes: the deleted one", left, vec![]);
        Ok(())
    }

    /// What may be asked for on top: ordering, consistency, and writes that only touch what is (not) there.
    pub async fn knobs(&mut self) -> Result {
        for ordering in [WriteOrderingType::Weak, WriteOrderingType::Medium, WriteOrderingType::Strong] {
            let request = UpsertPointsBuilder::new(&self.collection, vec![self.truth.point(&name(60))])
                .ordering(WriteOrdering { r#type: ordering.into() })
                .wait(true);
            let status = self.client.upsert_points(request).await?.result.unwrap_or_default().status();
            self.check(&format!("upsert with {ordering:?} ordering"), status, UpdateStatus::Completed);
        }
        let q = vector(10_005, DIM);
        let want = self.truth.nearest(&q, |_, _| true);
        let types =
            [ReadConsistencyType::All, ReadConsistencyType::Majority, ReadConsistencyType::Quorum].map(|t| Consistency::Type(t.into()));
        for consistency in [Consistency::Factor(1)].into_iter().chain(types) {
            let request = QueryPointsBuilder::new(&self.collection).query(q.clone()).limit(3).read_consistency(consistency);
            let got = self.client.query(request).await?.result;
            self.hits(&format!("query with consistency {consistency:?}"), &got, &want);
            self.check(&format!("query with consistency {consistency:?}: count"), got.len(), 3);
        }
        let rows =
            |x: u64, ids: [u64; 2]| UpsertPointsBuilder::new(&self.collection, ids.map(|id| row(id, id, json!({"x": x})))).wait(true);
        self.client.upsert_points(rows(1, [61, 7000]).update_mode(UpdateMode::InsertOnly)).await?;
        self.client.upsert_points(rows(2, [62, 7001]).update_mode(UpdateMode::UpdateOnly)).await?;
        self.truth.put(Id::Num(7000), vector(7000, DIM), json!({"x": 1}));
        *self.truth.payload_mut(&name(62)) = json!({"x": 2});
        self.holds("insert only", &[name(61), Id::Num(7000)]).await?;
        self.holds("update only", &[name(62)]).await?;
        let left = self.retrieve(&[Id::Num(7001)]).await?;
        self.check("update only: nothing new", left, vec![]);
        Ok(())
    }

    /// A second collection, whose points have up to three vectors.
    pub async fn named(&mut self) -> Result {
        let collection = format!("{}_named", self.collection);
        let spaces = [("dot", 8, Distance::Dot), ("euclid", 4, Distance::Euclid), ("manhattan", 5, Distance::Manhattan)];
        let (mut config, mut truths) = (VectorsConfigBuilder::default(), HashMap::new());
        for (using, size, distance) in spaces {
            config.add_named_vector_params(using, VectorParamsBuilder::new(size as u64, distance));
            truths.insert(using, Truth::new(distance));
        }
        let mut request = CreateCollectionBuilder::new(&collection).vectors_config(config).shard_number(2);
        if let Some(factor) = self.factor {
            request = request.replication_factor(factor);
        }
        self.client.create_collection(request).await?;
        let mut points = Vec::new();
        for i in 0..60 {
            let mut vectors = HashMap::new();
            for (k, (using, size, _)) in (0..).zip(spaces) {
                if using == "euclid" && i % 6 == 5 {
                    continue; // a vector may be missing
                }
                let v = vector(i + 100 * k, size);
                vectors.insert(using.to_string(), Vector::from(v.clone()));
                truths.get_mut(using).expect("one per space").put(Id::Num(i), v, json!({}));
            }
            points.push(PointStruct::new(i, vectors, to_payload(&json!({"n": i}))));
        }
        self.client.upsert_points(UpsertPointsBuilder::new(&collection, points).wait(true)).await?;
        self.ranks("named", &collection, &truths).await?;

        let q = vector(777, 4);
        let euclid = truths["euclid"].nearest(&q, |_, _| true);
        let cut = ((euclid[9].score + euclid[10].score) / 2.0) as f32;
        let got =
            self.client.query(QueryPointsBuilder::new(&collection).query(q).using("euclid").limit(100).score_threshold(cut)).await?.result;
        self.check("threshold of a distance", got.len(), 10);

        let new = PointVectors { id: Some(3.into()), vectors: Some(NamedVectors::default().add_vector("dot", vector(9, 8)).into()) };
        self.client.update_vectors(UpdatePointVectorsBuilder::new(&collection, vec![new]).wait(true)).await?;
        truths.get_mut("dot").expect("one per space").put(Id::Num(3), vector(9, 8), json!({}));
        self.ranks("after update of a vector", &collection, &truths).await?;

        let gone = DeletePointVectorsBuilder::new(&collection)
            .points_selector([4, 6])
            .vectors(VectorsSelector { names: vec!["euclid".into()] })
            .wait(true);
        self.client.delete_vectors(gone).await?;
        truths.get_mut("euclid").expect("one per space").drop(&[Id::Num(4), Id::Num(6)]);
        self.ranks("after delete of a vector", &collection, &truths).await?;
        let left = self.client.get_points(GetPointsBuilder::new(&collection, [4.into()]).with_payload(true)).await?.result;
        self.check("payload after both", left.into_iter().map(|p| json_of(p.payload)).collect(), vec![json!({"n": 4})]);
        Ok(())
    }

    /// Asks each space for all its points, with their vectors.
    async fn ranks(&mut self, what: &str, collection: &str, truths: &HashMap<&str, Truth>) -> Result {
        for (using, size) in [("dot", 8), ("euclid", 4), ("manhattan", 5)] {
            let (truth, q) = (&truths[using], vector(777, size));
            let vectors = VectorsSelector { names: vec![using.into()] };
            let request = QueryPointsBuilder::new(collection).query(q.clone()).using(using).limit(100).with_vectors(vectors);
            let got = self.client.query(request).await?.result;
            self.hits(&format!("{what}, {using}: rank"), &got, &truth.nearest(&q, |_, _| true));
            self.check(&format!("{what}, {using}: which"), in_order(ids_of_hits(&got)), truth.all());
            let good = got.into_iter().all(|h| near_all(&dense(h.vectors, using), &truth.points[&h.id.into()].0));
            self.ok(&format!("{what}, {using}: vectors"), good, "one differs");
        }
        Ok(())
    }

    async fn aliases_of(&self) -> Result<Vec<String>> {
        let aliases = self.client.list_collection_aliases(&self.collection).await?.aliases;
        Ok(aliases.into_iter().map(|a| a.alias_name).collect())
    }

    pub async fn aliases(&mut self) -> Result {
        let (a, b) = (format!("{}_alias", self.collection), format!("{}_alias2", self.collection));
        self.client.create_alias(CreateAliasBuilder::new(&self.collection, &a)).await?;
        let of = self.aliases_of().await?;
        self.check("aliases of the collection", of, vec![a.clone()]);
        let all = self.client.list_aliases().await?.aliases;
        self.ok("all aliases", all.iter().any(|x| x.alias_name == a && x.collection_name == self.collection), &all);
        let count = self.client.count(CountPointsBuilder::new(&a).exact(true)).await?.result.unwrap_or_default().count;
        self.check("count through the alias", count, self.truth.points.len() as u64);
        self.client.rename_alias(RenameAliasBuilder::new(&a, &b)).await?;
        let of = self.aliases_of().await?;
        self.check("rename", of, vec![b.clone()]);
        let gone = self.client.count(CountPointsBuilder::new(&a)).await;
        self.refused("the old name is gone", "NotFound", "", gone);
        self.client.delete_alias(&b).await?;
        let of = self.aliases_of().await?;
        self.check("delete the alias", of, vec![]);
        Ok(())
    }

    pub async fn errors(&mut self) -> Result {
        let (client, q) = (self.client.clone(), vector(1, DIM));
        let query = |c: &str| QueryPointsBuilder::new(c);
        let create = |c: &str, size: u64, factor: u32| {
            client.create_collection(
                CreateCollectionBuilder::new(c).vectors_config(VectorParamsBuilder::new(size, Distance::Dot)).replication_factor(factor),
            )
        };
        let here = self.collection.clone();
        let wrong = self.store_points(vec![self.truth.point(&name(1)), PointStruct::new(6000, vector(1, 7), to_payload(&json!({})))]).await;
        self.refused("wrong dimension, upsert", "InvalidArgument", "", wrong);
        self.refused("wrong dimension, query", "InvalidArgument", "", client.query(query(&here).query(vector(1, 7))).await);
        self.refused("unknown vector name", "InvalidArgument", "", client.query(query(&here).query(q.clone()).using("nope")).await);
        self.refused("unknown collection, query", "NotFound", "", client.query(query("no_such").query(q.clone())).await);
        self.refused("a point that is absent", "NotFound", "", client.query(query(&here).query(PointId::from(ABSENT))).await);
        self.refused("limit 0", "InvalidArgument", "", client.query(query(&here).query(q).limit(0)).await);
        self.refused("unknown collection, get", "NotFound", "", client.get_points(GetPointsBuilder::new("no_such", [1.into()])).await);
        self.refused("unknown collection, info", "NotFound", "no_such", client.collection_info("no_such").await);
        let bad = CountPointsBuilder::new(&here).filter(Filter::must([Condition::matches("a[", 1)]));
        self.refused("bad key in a filter", "InvalidArgument", "", client.count(bad).await);
        self.refused(
            "text that is no UUID as id",
            "InvalidArgument",
            "",
            client.get_points(GetPointsBuilder::new(&here, ["abc".into()])).await,
        );
        self.refused("create twice", "AlreadyExists", "", create(&here, 4, 1).await);
        self.refused("name with a slash", "InvalidArgument", "", create("a/b", 4, 1).await);
        self.refused("name of 256 bytes", "InvalidArgument", "", create(&"x".repeat(256), 4, 1).await);
        self.refused("size 0", "InvalidArgument", "", create("never", 0, 1).await);
        self.refused("replication_factor 0", "InvalidArgument", "", create("never", 4, 0).await);
        self.check("nothing came of it", client.collection_exists("never").await?, false);
        let total = self.count().await?;
        self.check("nothing was half applied", total, self.truth.points.len() as u64);
        Ok::<(), QdrantError>(())
    }

    pub async fn drop(&mut self) -> Result {
        for c in [self.collection.clone(), format!("{}_named", self.collection)] {
            let dropped = self.client.delete_collection(&c).await?.result;
            self.check("drop", dropped, true);
            let exists = self.client.collection_exists(&c).await?;
            self.check("dropped", exists, false);
        }
        let again = self.client.delete_collection(&self.collection).await?.result;
        self.check("drop what is gone", again, false);
        Ok(())
    }
}
