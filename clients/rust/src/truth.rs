//! What a collection must hold, computed here: the second opinion of every check.

use std::collections::BTreeMap;

use qdrant_client::Payload;
use qdrant_client::qdrant::point_id::PointIdOptions;
use qdrant_client::qdrant::{Distance, PointId, PointStruct};
use serde_json::{Value, json};

pub const DIM: usize = 300;
pub const COUNT: u64 = 600;
pub const SHARDS: u32 = 6;
pub const ABSENT: Id = Id::Num(1_000_000_000);

/// The numbers of a small congruential generator, equal in every language of this folder.
pub fn vector(i: u64, dim: usize) -> Vec<f32> {
    let mut state = (i * 7919 + 17) % 233_280;
    let mut next = || {
        state = (state * 9301 + 49_297) % 233_280;
        (state as f64 / 116_640.0 - 1.0) as f32
    };
    (0..dim).map(|_| next()).collect()
}

/// A point id that can be ordered: numbers in front of UUIDs, as a scroll gives them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Id {
    Num(u64),
    Uuid(String),
}

impl From<Id> for PointId {
    fn from(id: Id) -> Self {
        match id {
            Id::Num(n) => n.into(),
            Id::Uuid(u) => u.into(),
        }
    }
}

impl From<Option<PointId>> for Id {
    fn from(id: Option<PointId>) -> Self {
        match id.and_then(|id| id.point_id_options) {
            Some(PointIdOptions::Num(n)) => Id::Num(n),
            Some(PointIdOptions::Uuid(u)) => Id::Uuid(u),
            None => Id::Uuid("none".into()),
        }
    }
}

/// The id of the point with number i: every tenth has a UUID.
pub fn name(i: u64) -> Id {
    if i % 10 == 9 { Id::Uuid(format!("00000000-0000-5eed-0000-{i:012x}")) } else { Id::Num(i) }
}

pub fn names(numbers: impl IntoIterator<Item = u64>) -> Vec<Id> {
    numbers.into_iter().map(name).collect()
}

pub fn wire(ids: &[Id]) -> Vec<PointId> {
    ids.iter().cloned().map(PointId::from).collect()
}

/// What the point with number i carries.
pub fn payload(i: u64) -> Value {
    let mut p = json!({
        "n": i,
        "color": (["red", "green", "blue"][i as usize % 3]),
        "price": i as f64 / 4.0,
        "tags": [format!("t{}", i % 5), format!("s{}", i % 7)],
        "flag": i & 1 == 0,
        "nested": {"deep": i % 11, "list": [{"a": i % 3, "b": i % 2}, {"a": i % 4, "b": 7}]},
    });
    match i % 4 {
        0 => {}
        1 => p["maybe"] = Value::Null,
        2 => p["maybe"] = json!([]),
        _ => p["maybe"] = json!("x"),
    }
    p
}

pub fn to_payload(p: &Value) -> Payload {
    Payload::try_from(p.clone()).expect("payloads of these checks are objects")
}

pub struct Hit {
    pub id: Id,
    pub score: f64,
}

pub struct Truth {
    distance: Distance,
    pub points: BTreeMap<Id, (Vec<f32>, Value)>,
}

impl Truth {
    pub fn new(distance: Distance) -> Self {
        Truth { distance, points: BTreeMap::new() }
    }

    /// A collection as it is after `upsert`.
    pub fn filled() -> Self {
        let points = (0..COUNT).map(|i| (name(i), (vector(i, DIM), payload(i)))).collect();
        Truth { distance: Distance::Cosine, points }
    }

    pub fn put(&mut self, id: Id, vector: Vec<f32>, payload: Value) {
        self.points.insert(id, (vector, payload));
    }

    pub fn drop(&mut self, ids: &[Id]) {
        self.points.retain(|id, _| !ids.contains(id));
    }

    pub fn payload(&self, id: &Id) -> &Value {
        self.points.get(id).map_or(&Value::Null, |(_, p)| p)
    }

    pub fn payload_mut(&mut self, id: &Id) -> &mut Value {
        &mut self.points.get_mut(id).expect("the point is there").1
    }

    pub fn ids(&self, keep: impl Fn(&Id, &Value) -> bool) -> Vec<Id> {
        self.points.iter().filter(|(id, (_, p))| keep(id, p)).map(|(id, _)| id.clone()).collect()
    }

    pub fn all(&self) -> Vec<Id> {
        self.points.keys().cloned().collect()
    }

    /// The point as it is sent.
    pub fn point(&self, id: &Id) -> PointStruct {
        let (vector, payload) = self.points[id].clone();
        PointStruct::new(id.clone(), vector, to_payload(&payload))
    }

    /// Ranks all that keep lets through, best first.
    pub fn nearest(&self, query: &[f32], keep: impl Fn(&Id, &Value) -> bool) -> Vec<Hit> {
        let some = self.points.iter().filter(|(id, (_, p))| keep(id, p));
        let mut hits: Vec<Hit> = some.map(|(id, (v, _))| Hit { id: id.clone(), score: score(self.distance, query, v) }).collect();
        match self.distance {
            Distance::Cosine | Distance::Dot => hits.sort_by(|a, b| b.score.total_cmp(&a.score)),
            _ => hits.sort_by(|a, b| a.score.total_cmp(&b.score)),
        }
        hits
    }

    /// The vector as the collection gives it back.
    pub fn stored(&self, id: &Id) -> Vec<f32> {
        let v = &self.points[id].0;
        match self.distance {
            Distance::Cosine => {
                let norm = v.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
                v.iter().map(|x| (f64::from(*x) / norm) as f32).collect()
            }
            _ => v.clone(),
        }
    }
}

fn score(distance: Distance, a: &[f32], b: &[f32]) -> f64 {
    let sum = |f: fn(f64, f64) -> f64| a.iter().zip(b).map(|(x, y)| f(f64::from(*x), f64::from(*y))).sum::<f64>();
    match distance {
        Distance::Cosine => sum(|x, y| x * y) / (sum(|x, _| x * x) * sum(|_, y| y * y)).sqrt(),
        Distance::Euclid => sum(|x, y| (x - y).powi(2)).sqrt(),
        Distance::Manhattan => sum(|x, y| (x - y).abs()),
        _ => sum(|x, y| x * y),
    }
}

/// Equal within the precision of a float32.
pub fn near(a: f64, b: f64) -> bool {
    (a - b).abs() <= 2e-5 * b.abs().max(1.0)
}

pub fn near_all(a: &[f32], b: &[f32]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(x, y)| near(f64::from(*x), f64::from(*y)))
}
