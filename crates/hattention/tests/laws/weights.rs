//! Files of weights: they read back to the same bits, and anything else is refused by name.

use std::collections::HashMap;

use hattention::codec::onnx::{self, MOST_SOLVE_KEYS, Precision};
use hattention::codec::{Model, Weights};
use hattention::transformer::{Convention, Layout, Options, Transformer};
use hattention::{Error, Fit, Matrix, RankTolerance, Whitening};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use serde_json::json;

use crate::table::designs;

fn model() -> (Whitening, Fit) {
    designs()[0].ols(RankTolerance::Exact).unwrap()
}

fn weights(options: &Options, heads: usize) -> Weights {
    let (whitening, fit) = model();
    let transformer = Transformer::of(&whitening, std::slice::from_ref(&fit), options).unwrap();
    let model = Model { whitening, fits: vec![fit], extra: json!({"a": [1, "b"]}) };
    let transformer = transformer.with_heads(heads).unwrap();
    Weights { transformer, model: Some(model), extra: json!({"formula": "y ~ x"}) }
}

fn message(bytes: &[u8]) -> String {
    match Weights::from_bytes(bytes) {
        Err(error @ Error::Format { .. }) => error.to_string(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn weights_read_back_to_the_same_bits() {
    for layout in [Layout::SelfAttention, Layout::Cross, Layout::Solve] {
        for convention in [Convention::Covariance, Convention::Gram] {
            for heads in [1, 2] {
                let mut written = weights(&Options { layout, convention, ..Options::default() }, heads);
                written.transformer.alpha = 0.1 + 0.2;
                let bytes = written.to_bytes().unwrap();
                let read = Weights::from_bytes(&bytes).unwrap();
                assert_eq!(read.transformer, written.transformer);
                assert_eq!(read.extra, written.extra);
                // The same weights are the same bytes, with the model within.
                assert_eq!(read.to_bytes().unwrap(), bytes);
                let model = read.model.unwrap();
                assert_eq!(model.to_bytes().unwrap(), written.model.unwrap().to_bytes().unwrap());
                // What the model makes is what it made before it was written.
                let options = Options { layout, convention, ..Options::default() };
                let again =
                    Transformer::of(&model.whitening, &model.fits, &options).unwrap().with_heads(heads).unwrap();
                assert_eq!(again, Transformer { alpha: 0.0, ..read.transformer });
            }
        }
    }
    let alone = Weights { model: None, ..weights(&Options::default(), 1) };
    assert!(Weights::from_bytes(&alone.to_bytes().unwrap()).unwrap().model.is_none());
}

#[test]
fn every_file_that_is_cut_short_is_refused() {
    let bytes = weights(&Options::default(), 2).to_bytes().unwrap();
    for cut in 0..bytes.len() {
        assert!(matches!(Weights::from_bytes(&bytes[..cut]), Err(Error::Format { .. })), "{cut}");
    }
    assert!(matches!(Weights::from_bytes(&[&bytes[..], &[0]].concat()), Err(Error::Format { .. })));
}

#[test]
fn flipped_bytes_of_the_header_are_refused_or_harmless() {
    let written = Weights { model: None, ..weights(&Options::default(), 2) };
    let bytes = written.to_bytes().unwrap();
    let header = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let mut refused = 0;
    for place in 0..header {
        for flip in [0x01, 0x02, 0x10, 0x20, 0x80, 0xff] {
            let mut other = bytes.clone();
            other[place] ^= flip;
            match Weights::from_bytes(&other) {
                Err(Error::Format { .. }) => refused += 1,
                Err(error) => panic!("{place} {flip}: {error}"),
                // Another name or number, and weights that still fit each other.
                Ok(read) => {
                    let (a, b) = (&read.transformer, &written.transformer);
                    assert!(a.w_q == b.w_q && a.w_p == b.w_p && a.memory == b.memory, "{place} {flip}");
                    assert!(a.layer::<f64>().is_ok(), "{place} {flip}");
                }
            }
        }
    }
    assert!(refused > 3 * header, "{refused} of {}", 6 * header);
}

/// The file with its tensors and metadata changed.
fn changed(
    bytes: &[u8],
    change: impl FnOnce(&mut HashMap<String, (Dtype, Vec<usize>, Vec<u8>)>, &mut HashMap<String, String>),
) -> Vec<u8> {
    let (_, header) = SafeTensors::read_metadata(bytes).unwrap();
    let mut metadata = header.metadata().clone().unwrap();
    let file = SafeTensors::deserialize(bytes).unwrap();
    let mut tensors: HashMap<_, _> = file
        .tensors()
        .into_iter()
        .map(|(name, view)| (name, (view.dtype(), view.shape().to_vec(), view.data().to_vec())))
        .collect();
    change(&mut tensors, &mut metadata);
    let views = tensors
        .iter()
        .map(|(name, (dtype, shape, data))| (name.as_str(), TensorView::new(*dtype, shape.clone(), data).unwrap()));
    safetensors::serialize(views, Some(metadata)).unwrap()
}

#[test]
fn what_is_wrong_is_named() {
    let bytes = weights(&Options::default(), 1).to_bytes().unwrap();
    for name in ["w_q", "w_k", "w_v", "w_ffn", "w_p", "memory", "x_mean", "eigenvalues"] {
        let missing = message(&changed(&bytes, |tensors, _| drop(tensors.remove(name))));
        assert!(missing.contains(&format!("tensor `{name}`")), "{missing}");
        let short = changed(&bytes, |tensors, _| {
            let (_, shape, data) = tensors.get_mut(name).unwrap();
            let row = data.len() / shape[0];
            shape[0] -= 1;
            data.truncate(data.len() - row);
        });
        assert!(message(&short).contains(&format!("tensor `{name}` of")), "{}", message(&short));
        let nan = changed(&bytes, |tensors, _| {
            tensors.get_mut(name).unwrap().2[..8].copy_from_slice(&f64::NAN.to_le_bytes());
        });
        assert_eq!(message(&nan), format!("expected finite numbers in tensor `{name}`, got NaN"));
        let singles = changed(&bytes, |tensors, _| {
            let (dtype, _, data) = tensors.get_mut(name).unwrap();
            *dtype = Dtype::F32;
            data.truncate(data.len() / 2);
        });
        assert!(message(&singles).contains("F32"), "{}", message(&singles));
    }
    for (key, value) in [
        ("intercept", "maybe"),
        ("convention", "none"),
        ("layout", "sideways"),
        ("spectrum", ""),
        ("n", "-1.0"),
        ("n", "inf"),
        ("alpha", "NaN"),
        ("condition", "NaN"),
        ("condition", "inf"),
        ("names", "[1]"),
        ("targets", "{}"),
        ("heads", "[[0]]"),
        ("heads", "[[0, 18446744073709551615]]"),
        ("heads", "[[2, 1]]"),
        ("heads", "[]"),
        ("heads", "[[0, 0], [0, 4]]"),
        ("heads", "[[0, 4], [4, 4]]"),
        ("names", "[\"a\"]"),
        ("intercept", "false"),
        ("extra", "{"),
    ] {
        let wrong = changed(&bytes, |_, metadata| drop(metadata.insert(key.into(), value.into())));
        let said = message(&wrong);
        assert!(
            said.contains(key) || said.contains("tensor `w_q`") || said.contains("fit each other"),
            "{key}: {said}"
        );
    }
    let version = changed(&bytes, |_, metadata| drop(metadata.insert("version".into(), "7".into())));
    assert_eq!(message(&version), "expected weights format version 1, got version `7`");
    let other = changed(&bytes, |tensors, _| {
        let mut model = weights(&Options::default(), 1).model.unwrap();
        model.fits[0].target = "z".into();
        let data = model.to_bytes().unwrap();
        tensors.insert("model".into(), (Dtype::U8, vec![data.len()], data));
    });
    assert!(message(&other).contains("other columns or targets"), "{}", message(&other));
}

#[test]
fn models_are_no_weights_and_weights_no_models() {
    let weights = weights(&Options::default(), 1);
    let model = weights.model.as_ref().unwrap().to_bytes().unwrap();
    assert_eq!(message(&model), "expected a `hattention-transformer` file, got format `hattention-model`");
    let reverse = Model::from_bytes(&weights.to_bytes().unwrap()).unwrap_err().to_string();
    assert_eq!(reverse, "expected a `hattention-model` file, got format `hattention-transformer`");
}

#[test]
fn weights_that_could_not_be_read_are_not_written() {
    let mut broken = weights(&Options::default(), 1);
    broken.transformer.w_v.data[0] = f64::INFINITY;
    assert_eq!(broken.to_bytes().unwrap_err().to_string(), "expected finite numbers in tensor `w_v`, got inf");
    let mut broken = weights(&Options::default(), 1);
    broken.transformer.weight_total = 0.0;
    assert!(matches!(broken.to_bytes(), Err(Error::Format { .. })));
    let mut broken = weights(&Options::default(), 1);
    broken.transformer.w_p = Matrix::zeros(1, 1);
    assert!(matches!(broken.to_bytes(), Err(Error::Shape { .. })));
}

#[test]
fn graphs_are_the_same_bytes_and_refuse_what_they_cannot_hold() {
    let transformer = weights(&Options::default(), 1).transformer;
    let properties = [("formula", "y ~ x".to_owned())];
    let write = |precision| onnx::to_bytes(&transformer, precision, &properties).unwrap();
    assert_eq!(write(Precision::F64), write(Precision::F64));
    assert!(write(Precision::F32).len() < write(Precision::F64).len());
    assert!(write(Precision::F64).windows(5).any(|bytes| bytes == b"y ~ x"));

    let refusal =
        |transformer: &Transformer, precision| onnx::to_bytes(transformer, precision, &[]).unwrap_err().to_string();
    let mut large = transformer.clone();
    large.w_p.data[0] = 1e300;
    let said = refusal(&large, Precision::F32);
    assert!(said.starts_with("a number of tensor `w_p` is 1e300, beyond f32, expected a finite number"), "{said}");
    let mut large = transformer.clone();
    large.x_mean[0] = -1e39;
    assert!(onnx::to_bytes(&large, Precision::F64, &[]).is_ok());
    let said = refusal(&large, Precision::F32);
    assert!(said.starts_with("a number of tensor `x_mean` is -1e39, beyond f32"), "{said}");
    // As many keys as columns, no intercept.
    let of_size = |size: usize, layout| Transformer {
        names: (0..size).map(|j| format!("x{j}")).collect(),
        intercept: false,
        layout,
        x_mean: vec![0.0; size],
        w_q: Matrix::identity(size),
        w_k: Matrix::identity(size),
        w_v: Matrix::identity(size),
        w_ffn: Matrix::identity(size),
        w_p: Matrix::zeros(size, 1),
        memory: Matrix::identity(size),
        heads: vec![0..size],
        eigenvalues: vec![1.0; size],
        ..transformer.clone()
    };
    let wide = of_size(MOST_SOLVE_KEYS + 1, Layout::Solve);
    let said = refusal(&wide, Precision::F64);
    assert!(said.starts_with("the number of keys is 513, expected at most 512") && said.contains("cross"), "{said}");
    assert!(onnx::to_bytes(&of_size(MOST_SOLVE_KEYS + 1, Layout::Cross), Precision::F64, &[]).is_ok());
    assert!(onnx::to_bytes(&of_size(MOST_SOLVE_KEYS, Layout::Solve), Precision::F64, &[]).is_ok());
    assert!(refusal(&of_size(0, Layout::Cross), Precision::F64).starts_with("the number of columns is 0"));
}
