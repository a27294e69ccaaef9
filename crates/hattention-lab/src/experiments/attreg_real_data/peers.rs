//! Figures of others: published, and by scikit-learn on the same rows.

use std::sync::OnceLock;

use serde_json::Value;

const PUBLISHED: &str = include_str!("published.csv");
const SCIKIT: &str = include_str!("../../../../../reference/attreg_real_data.json");

/// Peers of the file of reference values.
pub const PEERS: [&str; 3] = ["forest", "boosting", "mlp"];

/// The file of reference values.
pub fn file() -> &'static Value {
    static FILE: OnceLock<Value> = OnceLock::new();
    FILE.get_or_init(|| serde_json::from_str(SCIKIT).unwrap_or_default())
}

/// R² of a peer in the splits of a set; none for a set that is not there.
pub fn splits(set: &str, peer: &str) -> Vec<f64> {
    let splits = file()["sets"][set]["splits"].as_array();
    splits.into_iter().flatten().filter_map(|split| split[peer].as_f64()).collect()
}

/// Training rows of a split of a set; none for a set that is not there.
pub fn rows(set: &str) -> Option<usize> {
    file()["sets"][set]["splits"][0]["train"].as_u64().map(|rows| rows as usize)
}

/// The published mean of a model, as the columns of the file are named.
pub fn published(set: &str, model: &str) -> Option<f64> {
    let mut lines = PUBLISHED.lines();
    let place = lines.next()?.split(',').position(|name| name == model)?;
    let line = lines.find(|line| line.split(',').next() == Some(set))?;
    line.split(',').nth(place)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_found() {
        assert_eq!(published("Yacht", "RegBlock"), Some(0.989));
        assert_eq!(published("", "OLS"), None);
        for peer in PEERS {
            assert_eq!(splits("flights", peer).len(), 5);
        }
        assert!(splits("unknown", "forest").is_empty());
    }
}
