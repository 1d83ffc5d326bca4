//! Pando with the qdrant-client crate, every answer compared with one computed here.
//!
//!     conformance [-v] [cluster | cluster-down | cluster-back]
//!
//! The peer is named by PANDO_HOST, PANDO_GRPC_PORT and PANDO_API_KEY, a cluster by PANDO_PEERS. The last line is
//! `N passed, M failed`.

mod cluster;
mod filters;
mod reads;
mod suite;
mod truth;
mod writes;

use std::process::ExitCode;

use suite::{Result, Suite};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<ExitCode> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let mode = args.iter().find(|a| !a.starts_with('-')).map_or("", String::as_str);
    let mut s = Suite::new(mode, args.iter().any(|a| a == "-v"))?;
    match mode {
        "cluster" => s.sample().await,
        "cluster-down" => s.sample_again(false).await,
        "cluster-back" => s.sample_again(true).await,
        "" => {}
        _ => panic!("there is no mode {mode}: cluster, cluster-down or cluster-back"),
    }
    if matches!(mode, "" | "cluster") {
        s.checks().await;
    }
    println!("{} passed, {} failed", s.passed, s.failed);
    Ok(if s.failed == 0 && s.passed > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl Suite {
    async fn checks(&mut self) {
        self.part("service", Suite::service).await;
        if self.passed == 0 {
            return; // nobody answers
        }
        self.part("create", Suite::create).await;
        self.part("upsert", Suite::upsert).await;
        self.part("get", Suite::get).await;
        self.part("query", Suite::query).await;
        self.part("filters", Suite::filters).await;
        self.part("search", Suite::search).await;
        self.part("scroll", Suite::scroll).await;
        self.part("payloads", Suite::payloads).await;
        self.part("delete", Suite::delete).await;
        self.part("batch", Suite::batch).await;
        self.part("knobs", Suite::knobs).await;
        self.part("named", Suite::named).await;
        self.part("aliases", Suite::aliases).await;
        self.part("info", Suite::info).await;
        self.part("errors", Suite::errors).await;
        self.part("drop", Suite::drop).await;
    }
}
