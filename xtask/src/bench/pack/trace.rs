//! A cluster and its work, read from two tables with a line of column names, such as the public traces of GPU
//! clusters have. Other columns are passed over.

use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail};
use serde::Deserialize;
use serde_json::json;
use spec::app::App;
use spec::protocol::AgentInfo;
use spec::resources::Resources;

use crate::bench::place::world::{document, info};

/// Parts of a GPU that can be asked for.
const GPU_PARTS: u64 = 1_000;

/// What counts as one GPU: Gantry hands out whole ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Gpus {
    /// A task that asks for a share of one GPU gets a whole one.
    Whole,
    /// The thousandths of all GPUs of a machine are one pool: a share may lie across two of them. An upper bound of
    /// what sharing could bring.
    Pooled,
    /// There are none and nobody asks for any: processors and memory alone.
    Ignored,
}

/// One line of the machines' table.
#[derive(Debug, Deserialize, PartialEq)]
pub(super) struct Node {
    pub(super) cpu_milli: u64,
    pub(super) memory_mib: u64,
    pub(super) gpu: u64,
    #[serde(default)]
    pub(super) model: String,
}

/// One line of the tasks' table.
#[derive(Debug, Deserialize, PartialEq)]
pub(super) struct Task {
    pub(super) cpu_milli: u64,
    pub(super) memory_mib: u64,
    pub(super) num_gpu: u64,
    /// Thousandths of each GPU.
    pub(super) gpu_milli: Option<u64>,
    /// Models that will do, as `A|B`; empty: any.
    #[serde(default)]
    pub(super) gpu_spec: String,
}

/// A table's lines, in order.
pub(super) fn read<T: for<'a> Deserialize<'a>>(path: &Path) -> anyhow::Result<Vec<T>> {
    let file = std::fs::File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    parse(file).with_context(|| format!("{} is not such a table", path.display()))
}

pub(super) fn parse<T: for<'a> Deserialize<'a>>(text: impl Read) -> anyhow::Result<Vec<T>> {
    let rows: Vec<T> = csv::Reader::from_reader(text).deserialize().collect::<Result<_, _>>()?;
    if rows.is_empty() {
        bail!("it has no lines");
    }
    Ok(rows)
}

impl Node {
    /// The machine as an agent of that number; its GPUs' model is its attribute `model`.
    pub(super) fn agent(&self, number: usize, gpus: Gpus) -> AgentInfo {
        let parts = match gpus {
            Gpus::Whole => 1,
            Gpus::Pooled => GPU_PARTS,
            Gpus::Ignored => 0,
        };
        let capacity = Resources {
            cpus_milli: self.cpu_milli,
            mem_mib: self.memory_mib,
            disk_mib: 0,
            gpus: self.gpu * parts,
        };
        let mut info = info(number, capacity);
        if !self.model.is_empty() {
            info.attributes.insert("model".to_owned(), self.model.clone());
        }
        info
    }
}

impl Task {
    /// The task as an app of one instance.
    pub(super) fn app(&self, number: usize, gpus: Gpus) -> anyhow::Result<Arc<App>> {
        let gpus = match gpus {
            Gpus::Whole => self.num_gpu,
            Gpus::Pooled => self.num_gpu * self.gpu_milli.unwrap_or(GPU_PARTS),
            Gpus::Ignored => 0,
        };
        let constraints = match self.gpu_spec.as_str() {
            "" => json!([]),
            models => json!([["model", "LIKE", models]]),
        };
        let changes = json!({"cpus": self.cpu_milli as f64 / 1000.0, "mem": self.memory_mib, "gpus": gpus,
            "constraints": constraints, "portDefinitions": []});
        let document = document(&format!("/t{number}"), 1, changes);
        Ok(Arc::new(serde_json::from_value(document).context("not an app")?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODES: &str = "sn,cpu_milli,memory_mib,gpu,model\nn0,32000,262144,0,\nn1,96000,393216,8,G2\n";
    const TASKS: &str = "name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec,qos\n\
        t0,1500,1024,0,0,,LS\nt1,6000,12288,1,460,V100M16|V100M32,BE\nt2,6000,12288,2,,,BE\n";

    #[test]
    fn lines_become_agents_and_apps() {
        let nodes: Vec<Node> = parse(NODES.as_bytes()).unwrap();
        let tasks: Vec<Task> = parse(TASKS.as_bytes()).unwrap();
        let agent = |n: usize, gpus| nodes[n].agent(n, gpus);
        assert_eq!(
            (agent(0, Gpus::Whole).capacity.cpus_milli, agent(0, Gpus::Whole).capacity.gpus),
            (32_000, 0)
        );
        assert_eq!(
            [Gpus::Whole, Gpus::Pooled, Gpus::Ignored].map(|gpus| agent(1, gpus).capacity.gpus),
            [8, 8000, 0]
        );
        assert_eq!(agent(1, Gpus::Whole).attributes["model"], "G2");
        assert!(!agent(0, Gpus::Whole).attributes.contains_key("model"));
        let asked = |gpus| [0, 1, 2].map(|n: usize| tasks[n].app(n, gpus).unwrap().resources().gpus);
        assert_eq!((asked(Gpus::Whole), asked(Gpus::Pooled)), ([0, 1, 2], [0, 460, 2000]));
        let app = tasks[1].app(1, Gpus::Whole).unwrap();
        assert_eq!((app.resources().cpus_milli, app.resources().mem_mib), (6000, 12_288));
        assert_eq!(app.constraints[0].value.as_deref(), Some("V100M16|V100M32"));
    }

    #[test]
    fn what_is_no_such_table_is_refused() {
        for text in
            ["", "sn,cpu_milli\nn0,1\n", "cpu_milli,memory_mib,gpu\nmany,1,1\n", "cpu_milli,memory_mib,gpu\n"]
        {
            assert!(parse::<Node>(text.as_bytes()).is_err(), "{text:?}");
        }
    }
}
