//! A history as a file: a JSON array a line, so that a failed run can be looked at with any tool and checked
//! again.

use std::io::{BufRead, Write};

use anyhow::{Context, bail};
use serde_json::{Value, json};

use super::{Call, FIELDS, Fields, Operation, Outcome};

/// Writes a history.
pub fn write(mut to: impl Write, history: &[Operation]) -> std::io::Result<()> {
    for one in history {
        let line =
            json!([one.client, one.key, call(one.call), outcome(one.outcome), one.invoked, one.returned]);
        writeln!(to, "{line}")?;
    }
    to.flush()
}

/// Reads what [`write()`] wrote; the error names the line.
pub fn read(from: impl BufRead) -> anyhow::Result<Vec<Operation>> {
    let numbered = from.lines().enumerate();
    numbered.map(|(index, line)| operation(&line?).with_context(|| format!("line {}", index + 1))).collect()
}

fn call(call: Call) -> Value {
    match call {
        Call::Create(fields) => json!(["create", fields]),
        Call::Set(field, value) => json!(["set", field, value]),
        Call::Delete => json!(["delete"]),
        Call::Read => json!(["read"]),
    }
}

fn outcome(outcome: Outcome) -> Value {
    match outcome {
        Outcome::Done => json!(["done"]),
        Outcome::Exists => json!(["exists"]),
        Outcome::Absent => json!(["absent"]),
        Outcome::Found(fields) => json!(["found", fields]),
        Outcome::Failed => json!(["failed"]),
        Outcome::Unknown => json!(["unknown"]),
    }
}

fn operation(line: &str) -> anyhow::Result<Operation> {
    let value: Value = serde_json::from_str(line)?;
    Ok(Operation {
        client: u32::try_from(number(&value[0])?)?,
        key: value[1].as_str().context("no key")?.to_owned(),
        call: read_call(&value[2])?,
        outcome: read_outcome(&value[3])?,
        invoked: number(&value[4])?,
        returned: number(&value[5])?,
    })
}

fn number(value: &Value) -> anyhow::Result<u64> {
    value.as_u64().with_context(|| format!("{value} is no number"))
}

fn fields(value: &Value) -> anyhow::Result<Fields> {
    let numbers = value.as_array().into_iter().flatten().map(number).collect::<anyhow::Result<Vec<_>>>()?;
    Fields::try_from(numbers).map_err(|_| anyhow::anyhow!("{value} is not {FIELDS} fields"))
}

fn read_call(value: &Value) -> anyhow::Result<Call> {
    match value[0].as_str() {
        Some("create") => Ok(Call::Create(fields(&value[1])?)),
        Some("set") => match usize::try_from(number(&value[1])?)? {
            field if field < FIELDS => Ok(Call::Set(field, number(&value[2])?)),
            field => bail!("there is no field {field}"),
        },
        Some("delete") => Ok(Call::Delete),
        Some("read") => Ok(Call::Read),
        _ => bail!("{value} is no call"),
    }
}

fn read_outcome(value: &Value) -> anyhow::Result<Outcome> {
    match value[0].as_str() {
        Some("done") => Ok(Outcome::Done),
        Some("exists") => Ok(Outcome::Exists),
        Some("absent") => Ok(Outcome::Absent),
        Some("found") => Ok(Outcome::Found(fields(&value[1])?)),
        Some("failed") => Ok(Outcome::Failed),
        Some("unknown") => Ok(Outcome::Unknown),
        _ => bail!("{value} is no outcome"),
    }
}
