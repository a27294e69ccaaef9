//! What the numbers were measured on and with.

use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::root;

/// The processor, its caches and its instruction sets; never the machine's name.
pub(crate) fn describe() -> Value {
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |name: &str| {
        cpu.lines().find(|line| line.starts_with(name)).and_then(|line| line.split(':').nth(1)).map(str::trim)
    };
    let memory = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kilobytes = memory.lines().next().and_then(|line| line.split_whitespace().nth(1)).and_then(|n| n.parse().ok());
    let wanted = ["avx2", "fma", "avx512f", "avx512dq", "avx512ifma"];
    let flags: Vec<&str> = field("flags").unwrap_or_default().split(' ').filter(|f| wanted.contains(f)).collect();
    json!({
        "cpu": field("model name"),
        "cpu_family": field("cpu family"),
        "cpu_model": field("model\t"),
        "cores": std::thread::available_parallelism().map(usize::from).ok(),
        "instruction_sets": flags,
        "caches": caches(),
        "memory_gib": kilobytes.map(|k: f64| (k / 1024.0 / 1024.0 * 10.0).round() / 10.0),
        "system": std::env::consts::OS,
        "architecture": std::env::consts::ARCH,
    })
}

fn caches() -> Vec<String> {
    let read = |index: usize, name: &str| {
        std::fs::read_to_string(format!("/sys/devices/system/cpu/cpu0/cache/index{index}/{name}"))
            .map(|text| text.trim().to_owned())
    };
    (0..8)
        .filter_map(|i| match (read(i, "level"), read(i, "type"), read(i, "size")) {
            (Ok(level), Ok(kind), Ok(size)) if kind != "Instruction" => Some(format!("L{level} {size}")),
            _ => None,
        })
        .collect()
}

/// How long the contestants rest before the machine is observed, and how long it is observed.
const REST: Duration = Duration::from_millis(300);

/// Cores that others keep busy: those that work, or are withheld by the hypervisor, while every contestant rests.
pub(crate) fn cores_of_others() -> Option<f64> {
    std::thread::sleep(REST);
    let before = ticks()?;
    std::thread::sleep(REST);
    let after = ticks()?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from) as f64;
    let (busy, all) = (after.0 - before.0, after.1 - before.1);
    (all > 0.0).then(|| (cores * busy / all * 100.0).round() / 100.0)
}

/// Busy and all ticks of all cores since the start: of user, nice, system, idle, waiting, interrupts (two) and stolen.
fn ticks() -> Option<(f64, f64)> {
    let text = std::fs::read_to_string("/proc/stat").ok()?;
    let ticks: Vec<f64> = text.lines().next()?.split_whitespace().skip(1).take(8).flat_map(str::parse).collect();
    let all: f64 = ticks.iter().sum();
    Some((all - ticks.get(3)? - ticks.get(4)?, all))
}

/// The commit, marked when the tree differs from it.
pub(crate) fn commit() -> Value {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").args(arguments).current_dir(root()).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    match (git(&["rev-parse", "--short=12", "HEAD"]), git(&["status", "--porcelain"])) {
        (Some(commit), Some(changes)) if changes.is_empty() => json!(commit),
        (Some(commit), _) => json!(format!("{commit} and uncommitted changes")),
        _ => Value::Null,
    }
}

pub(crate) fn versions() -> Value {
    let rustc = Command::new("rustc").arg("--version").output().ok();
    let rustc = rustc.map(|o| String::from_utf8_lossy(&o.stdout).split(' ').nth(1).unwrap_or_default().to_owned());
    json!({ "hattention": env!("CARGO_PKG_VERSION"), "rustc": rustc })
}

pub(crate) fn merge_versions(results: &mut Value, more: &Value) {
    for (name, version) in more.as_object().into_iter().flatten() {
        results["versions"][name] = version.clone();
    }
}
