//! Bookkeeping of the checks.

use std::env;
use std::fmt::Debug;
use std::time::{Duration, Instant};

use qdrant_client::qdrant::{Distance, GetPointsBuilder, RetrievedPoint, ScoredPoint, VectorsOutput, vector_output};
use qdrant_client::{Payload, Qdrant, QdrantError};
use serde_json::Value;

use crate::truth::{Hit, Id, Truth, near, near_all, wire};

pub type Result<T = (), E = QdrantError> = std::result::Result<T, E>;

/// Each part talks to the next peer. A part that breaks off is one failed check; the next ones still run.
pub struct Suite {
    pub client: Qdrant,
    pub clients: Vec<Qdrant>,
    pub collection: String,
    pub truth: Truth,
    pub factor: Option<u32>,
    pub passed: usize,
    pub failed: usize,
    verbose: bool,
    turn: usize,
}

fn var(key: &str, default: &str) -> String {
    env::var(key).unwrap_or_else(|_| default.into())
}

/// The gRPC addresses to talk to: the one of PANDO_HOST, or those of PANDO_PEERS="rest/grpc,…" but the PANDO_DOWN-th.
fn addresses(mode: &str) -> Vec<String> {
    if mode.is_empty() {
        return vec![format!("{}:{}", var("PANDO_HOST", "127.0.0.1"), var("PANDO_GRPC_PORT", "6334"))];
    }
    let peers = env::var("PANDO_PEERS").unwrap_or_else(|_| panic!("{mode} needs PANDO_PEERS=\"rest/grpc,…\", each host:port"));
    let down = if mode == "cluster-down" { var("PANDO_DOWN", "0") } else { String::new() };
    let grpc = peers.split(',').map(|p| p.rsplit('/').next().unwrap_or(p).to_string());
    grpc.enumerate().filter(|(i, _)| (i + 1).to_string() != down).map(|(_, a)| a).collect()
}

impl Suite {
    pub fn new(mode: &str, verbose: bool) -> Result<Self> {
        let connect = |address: String| {
            let builder = Qdrant::from_url(&format!("http://{address}")).timeout(Duration::from_secs(60)).skip_compatibility_check();
            builder.api_key(env::var("PANDO_API_KEY").ok().filter(|key| !key.is_empty())).build()
        };
        let clients = addresses(mode).into_iter().map(connect).collect::<Result<Vec<_>>>()?;
        Ok(Suite {
            client: clients[0].clone(),
            clients,
            collection: "conformance_rust".into(),
            truth: Truth::new(Distance::Cosine),
            factor: (!mode.is_empty()).then(|| var("PANDO_FACTOR", "2").parse().expect("PANDO_FACTOR is a number")),
            passed: 0,
            failed: 0,
            verbose,
            turn: 0,
        })
    }

    pub async fn part(&mut self, what: &str, f: impl AsyncFnOnce(&mut Suite) -> Result) {
        self.client = self.clients[self.turn % self.clients.len()].clone();
        self.turn += 1;
        if let Err(e) = f(self).await {
            self.ok(&format!("{what} breaks off"), false, e);
        }
    }

    pub fn ok(&mut self, what: &str, good: bool, detail: impl Debug) {
        if good {
            self.passed += 1;
            if self.verbose {
                println!("ok   rust: {what}");
            }
        } else {
            self.failed += 1;
            println!("FAIL rust: {what}: {:.600}", format!("{detail:?}"));
        }
    }

    pub fn check<T: PartialEq + Debug>(&mut self, what: &str, got: T, want: T) {
        self.ok(what, got == want, format_args!("got {got:?}, want {want:?}"));
    }

    /// The call must fail with this code, and say this.
    pub fn refused<T>(&mut self, what: &str, code: &str, said: &str, result: Result<T>) {
        match result {
            Err(QdrantError::ResponseError { status }) => {
                let good = format!("{:?}", status.code()) == code && status.message().contains(said);
                self.ok(what, good, format_args!("want {code}, got {status:?}"));
            }
            Err(e) => self.ok(what, false, e),
            Ok(_) => self.ok(what, false, "accepted"),
        }
    }

    /// Ranked answers: each score as computed, and in order; ties may come in any order.
    pub fn hits(&mut self, what: &str, got: &[ScoredPoint], want: &[Hit]) {
        let mut seen = Vec::new();
        for (place, h) in got.iter().enumerate() {
            let (id, score) = (Id::from(h.id.clone()), f64::from(h.score));
            let computed = want.iter().find(|w| w.id == id).map(|w| w.score);
            let good = computed.is_some_and(|c| near(score, c)) && want.get(place).is_some_and(|w| near(score, w.score));
            if !good || seen.contains(&id) {
                return self.ok(what, false, format_args!("place {place}: {id:?} with score {score}; computed {computed:?}"));
            }
            seen.push(id);
        }
        self.ok(what, true, "");
    }

    pub async fn retrieve(&self, ids: &[Id]) -> Result<Vec<RetrievedPoint>> {
        let request = GetPointsBuilder::new(&self.collection, wire(ids)).with_payload(true).with_vectors(true);
        Ok(self.client.get_points(request).await?.result)
    }

    /// Reads the points back and compares everything about them.
    pub async fn holds(&mut self, what: &str, ids: &[Id]) -> Result {
        let got = self.retrieve(ids).await?;
        self.check(&format!("{what}: ids"), in_order(ids_of(&got)), in_order(ids.to_vec()));
        for p in got {
            let id = Id::from(p.id);
            let payload = json_of(p.payload);
            if payload != *self.truth.payload(&id) {
                let want = self.truth.payload(&id).clone();
                self.check(&format!("{what}: payload of {id:?}"), payload, want);
                return Ok(());
            }
            if !near_all(&dense(p.vectors, ""), &self.truth.stored(&id)) {
                self.ok(&format!("{what}: vector"), false, id);
                return Ok(());
            }
        }
        self.ok(&format!("{what}: payloads and vectors"), true, "");
        Ok(())
    }

    /// Waits until every peer knows the collection that one of them made.
    pub async fn seen_by_all(&mut self) -> Result {
        for client in self.clients.clone() {
            let until = Instant::now() + Duration::from_secs(10);
            let mut seen = client.collection_exists(&self.collection).await?;
            while !seen && Instant::now() < until {
                tokio::time::sleep(Duration::from_millis(50)).await;
                seen = client.collection_exists(&self.collection).await?;
            }
            self.ok("the collection is seen by every peer", seen, "not after 10 s");
        }
        Ok(())
    }
}

pub fn ids_of(points: &[RetrievedPoint]) -> Vec<Id> {
    points.iter().map(|p| p.id.clone().into()).collect()
}

pub fn ids_of_hits(points: &[ScoredPoint]) -> Vec<Id> {
    points.iter().map(|p| p.id.clone().into()).collect()
}

pub fn in_order(mut ids: Vec<Id>) -> Vec<Id> {
    ids.sort();
    ids
}

pub fn json_of(payload: impl Into<Payload>) -> Value {
    payload.into().into()
}

/// The dense vector of an answer, by its name where it has one.
pub fn dense(vectors: Option<VectorsOutput>, using: &str) -> Vec<f32> {
    match vectors.and_then(|v| v.get_vector_by_name(using)) {
        Some(vector_output::Vector::Dense(v)) => v.data,
        _ => Vec::new(),
    }
}
