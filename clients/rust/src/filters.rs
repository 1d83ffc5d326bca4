//! Filters, and what each of them lets through.

use qdrant_client::QdrantError;
use qdrant_client::qdrant::r#match::MatchValue;
use qdrant_client::qdrant::{Condition, CountPointsBuilder, Filter, QueryPointsBuilder, Range, ScrollPointsBuilder};
use serde_json::{Value, json};

use crate::suite::{Result, Suite, ids_of, ids_of_hits, in_order};
use crate::truth::{ABSENT, COUNT, DIM, Id, name, vector, wire};

type Keep = Box<dyn Fn(&Id, &Value) -> bool>;

fn case(what: &'static str, filter: Filter, keep: impl Fn(&Id, &Value) -> bool + 'static) -> (&'static str, Filter, Keep) {
    (what, filter, Box::new(keep))
}

pub fn number(p: &Value) -> u64 {
    p["n"].as_u64().unwrap_or(u64::MAX)
}

fn price(p: &Value) -> f64 {
    p["price"].as_f64().unwrap_or(f64::NAN)
}

fn red(p: &Value) -> bool {
    p["color"] == "red"
}

pub fn flag(p: &Value) -> bool {
    p["flag"] == true
}

fn deep34(p: &Value) -> bool {
    p["nested"]["deep"] == 3 || p["nested"]["deep"] == 4
}

fn in_list(p: &Value, good: impl Fn(&Value) -> bool) -> bool {
    p["nested"]["list"].as_array().is_some_and(|list| list.iter().any(good))
}

pub fn at_least(from: f64) -> Range {
    Range { gte: Some(from), ..Default::default() }
}

fn cases() -> Vec<(&'static str, Filter, Keep)> {
    let is_red = || Condition::matches("color", "red".to_string());
    let is_flag = || Condition::matches("flag", true);
    let low = || Condition::range("n", Range { lt: Some(100.0), ..Default::default() });
    let some = [name(3), name(4), name(9), name(19), ABSENT];
    let has_some = || Condition::has_id(wire(&[name(3), name(4), name(9), name(19), ABSENT]));
    let none_of = some.clone();
    let deep = |n: i64| Condition::matches("nested.deep", n);
    let is_34 = || Condition::from(Filter::should([deep(3), deep(4)]));
    vec![
        case("match keyword", Filter::must([is_red()]), |_, p| red(p)),
        case("match integer", Filter::must([Condition::matches("n", 42)]), |_, p| number(p) == 42),
        case("match bool", Filter::must([is_flag()]), |_, p| flag(p)),
        case("match in a list", Filter::must([Condition::matches("tags", "s3".to_string())]), |_, p| p["tags"][1] == "s3"),
        case("match any", Filter::must([Condition::matches("color", vec!["red".to_string(), "blue".to_string()])]), |_, p| {
            p["color"] != "green"
        }),
        case("match any integer", Filter::must([Condition::matches("n", vec![1, 2, 99])]), |_, p| [1, 2, 99].contains(&number(p))),
        case("match except", Filter::must([Condition::matches("color", !MatchValue::from(["red"]))]), |_, p| !red(p)),
        case("match a value of another kind", Filter::must([Condition::matches("n", "42".to_string())]), |_, _| false),
        case("range lt", Filter::must([low()]), |_, p| number(p) < 100),
        case(
            "range gte lte",
            Filter::must([Condition::range("price", Range { gte: Some(10.25), lte: Some(20.5), ..Default::default() })]),
            |_, p| (10.25..=20.5).contains(&price(p)),
        ),
        case(
            "range gt lt",
            Filter::must([Condition::range("price", Range { gt: Some(10.25), lt: Some(20.5), ..Default::default() })]),
            |_, p| price(p) > 10.25 && price(p) < 20.5,
        ),
        case("range of a text", Filter::must([Condition::range("color", Range { gt: Some(0.0), ..Default::default() })]), |_, _| false),
        case("has_id", Filter::must([has_some()]), move |id, _| some.contains(id)),
        case("must_not has_id", Filter::must_not([has_some()]), move |id, _| !none_of.contains(id)),
        case("is_empty", Filter::must([Condition::is_empty("maybe")]), |_, p| p["maybe"] != "x"),
        case("is_null", Filter::must([Condition::is_null("maybe")]), |_, p| p.get("maybe").is_some_and(Value::is_null)),
        case("not is_empty", Filter::must_not([Condition::is_empty("maybe")]), |_, p| p["maybe"] == "x"),
        case("must and must", Filter::must([is_red(), is_flag(), low()]), |_, p| red(p) && flag(p) && number(p) < 100),
        case("should", Filter::should([is_red(), is_flag()]), |_, p| red(p) || flag(p)),
        case("must_not", Filter::must_not([is_red(), is_flag()]), |_, p| !red(p) && !flag(p)),
        case(
            "must, should and must_not",
            Filter {
                must: vec![low()],
                should: vec![is_red(), is_flag()],
                must_not: vec![Condition::range("n", at_least(50.0))],
                ..Default::default()
            },
            |_, p| number(p) < 50 && (red(p) || flag(p)),
        ),
        case("min_should", Filter::min_should(2, [is_red(), is_flag(), low()]), |_, p| {
            u8::from(red(p)) + u8::from(flag(p)) + u8::from(number(p) < 100) >= 2
        }),
        case("nested key", Filter::must([deep(5)]), |_, p| p["nested"]["deep"] == 5),
        case("key into a list", Filter::must([Condition::matches("nested.list[].a", 2)]), |_, p| in_list(p, |e| e["a"] == 2)),
        case("filter in a filter", Filter::must([is_34(), is_flag()]), |_, p| deep34(p) && flag(p)),
        case(
            "filter in a filter in a filter",
            Filter::must_not([Filter::must([Filter::must_not([is_34()]).into(), is_flag()]).into()]),
            |_, p| deep34(p) || !flag(p),
        ),
        case(
            "nested objects",
            Filter::must([Condition::nested("nested.list", Filter::must([Condition::matches("a", 2), Condition::matches("b", 7)]))]),
            |_, p| in_list(p, |e| *e == json!({"a": 2, "b": 7})),
        ),
        case("unknown key", Filter::must([Condition::matches("no.such.key", 1)]), |_, _| false),
        case("empty filter", Filter::default(), |_, _| true),
    ]
}

impl Suite {
    /// Puts every case to query, count and scroll.
    pub async fn filters(&mut self) -> Result {
        for (what, filter, keep) in cases() {
            self.part(&format!("filter {what}"), async |s: &mut Suite| s.filter(what, filter, keep).await).await;
        }
        Ok(())
    }

    async fn filter(&mut self, what: &str, filter: Filter, keep: Keep) -> Result<(), QdrantError> {
        let query = vector(10_002, DIM);
        let (want, which) = (self.truth.nearest(&query, &keep), self.truth.ids(&keep));
        let got =
            self.client.query(QueryPointsBuilder::new(&self.collection).query(query).filter(filter.clone()).limit(COUNT)).await?.result;
        self.hits(&format!("filter {what}: rank"), &got, &want);
        self.check(&format!("filter {what}: which"), in_order(ids_of_hits(&got)), which.clone());
        let count = self.client.count(CountPointsBuilder::new(&self.collection).filter(filter.clone()).exact(true)).await?;
        self.check(&format!("filter {what}: count"), count.result.map(|r| r.count), Some(want.len() as u64));
        let page = self.client.scroll(ScrollPointsBuilder::new(&self.collection).filter(filter).limit(COUNT as u32)).await?;
        self.check(&format!("filter {what}: scroll"), ids_of(&page.result), which);
        Ok(())
    }
}
