//! Arrays in files.

use std::path::Path;

use hattention::Error;
use hattention::thermodynamics::{Number, Numbers};
use npyz::{DType, NpyHeader, Order};
use safetensors::{Dtype, SafeTensors};

use crate::failure::Failure;

/// A file larger than this is refused before it is read: it is held in memory.
const LARGEST_BYTES: u64 = 16 << 30;
/// What files are accepted.
const FORMATS: &str = "name a .npy or .safetensors file of floats, or an attention regression of `hat attend fit -o`";

/// The bytes of a file.
///
/// # Errors
/// If it cannot be read, is empty or too large.
pub fn bytes(path: &Path) -> Result<Vec<u8>, Failure> {
    let name = path.display();
    let cannot = |why: &dyn std::fmt::Display| Failure::usage(format!("cannot read {name}: {why}"), FORMATS);
    let metadata = std::fs::metadata(path).map_err(|e| cannot(&e))?;
    if !metadata.is_file() {
        return Err(cannot(&"it is not a file"));
    }
    if metadata.len() > LARGEST_BYTES {
        let size = metadata.len() as f64 / f64::from(1 << 30);
        let hint = "save fewer queries or layers, or queries and keys: their scores are formed in tiles and never held";
        return Err(Failure::usage(
            format!("{name} has {size:.1} GiB, and {} are read at most", LARGEST_BYTES >> 30),
            hint,
        ));
    }
    let bytes = std::fs::read(path).map_err(|e| cannot(&e))?;
    if bytes.is_empty() {
        return Err(cannot(&"it is empty"));
    }
    Ok(bytes)
}

/// An array and its name.
#[derive(Clone)]
pub struct Array<'a> {
    /// Its name in the file, or the file's.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// Its numbers, or what keeps them from being read.
    numbers: Result<Numbers<'a>, String>,
}

impl<'a> Array<'a> {
    /// Its numbers.
    ///
    /// # Errors
    /// If they are of no kind that is read, or the shape is none of attention's.
    pub fn numbers(&self) -> Result<Numbers<'a>, Failure> {
        let of_name = |why: &String| {
            let hint = "shapes are [batches, heads, queries, keys] or the last of these axes; numbers are F64, F32, F16 or BF16";
            Failure::usage(format!("{} of shape {:?}: {why}", self.name, self.shape), hint)
        };
        self.numbers.as_ref().map(|numbers| *numbers).map_err(of_name)
    }

    /// Whether it could be part of attention: floats, of one to four axes.
    pub fn usable(&self) -> bool {
        self.numbers.is_ok()
    }
}

/// Whether a file is one of NumPy's arrays.
pub fn is_npy(bytes: &[u8]) -> bool {
    bytes.starts_with(b"\x93NUMPY")
}

/// The array of a .npy file.
///
/// # Errors
/// If its head is broken or its numbers are of a kind that is not read.
pub fn npy<'a>(path: &Path, bytes: &'a [u8]) -> Result<Array<'a>, Failure> {
    let name = path.display().to_string();
    let mut rest = bytes;
    let header = NpyHeader::from_reader(&mut rest)
        .map_err(|e| Failure::usage(format!("{name} is not a whole .npy file: {e}"), FORMATS))?;
    let described = match header.dtype() {
        DType::Plain(kind) => kind.to_string(),
        _ => "records".to_owned(),
    };
    let number = match described.as_str() {
        "<f8" => Number::F64,
        "<f4" => Number::F32,
        "<f2" => Number::F16,
        _ => {
            let message = format!("{name} has numbers `{described}`, expected <f8, <f4 or <f2");
            return Err(Failure::usage(message, "write it with numpy.save(FILE, array.astype(\"<f4\"))"));
        }
    };
    let shape: Vec<usize> = header.shape().iter().map(|n| usize::try_from(*n).unwrap_or(usize::MAX)).collect();
    let numbers = Numbers::new(rest, number, &shape, header.order() == Order::Fortran);
    if let Err(Error::Shape { expected, got, .. }) = numbers {
        let message = format!("{name} of shape {shape:?} has {got} bytes of numbers, expected {expected}");
        return Err(Failure::usage(message, "it was cut off, or is no .npy file: save it again"));
    }
    Ok(Array { name, shape, numbers: numbers.map_err(|e| e.to_string()) })
}

/// All arrays of a .safetensors file, and its description.
///
/// # Errors
/// If it is no such file.
pub fn safetensors<'a>(path: &Path, bytes: &'a [u8]) -> Result<Vec<Array<'a>>, Failure> {
    let broken = |e: safetensors::SafeTensorError| {
        Failure::usage(format!("{} is neither .npy nor a whole .safetensors file: {e}", path.display()), FORMATS)
    };
    let tensors = SafeTensors::deserialize(bytes).map_err(broken)?;
    let mut names: Vec<String> = tensors.names().iter().map(|name| (*name).to_owned()).collect();
    names.sort_by_key(|name| natural(name));
    let of_name = |name: String| {
        let view = tensors.tensor(&name).map_err(broken)?;
        let number = match view.dtype() {
            Dtype::F64 => Ok(Number::F64),
            Dtype::F32 => Ok(Number::F32),
            Dtype::F16 => Ok(Number::F16),
            Dtype::BF16 => Ok(Number::BF16),
            other => Err(format!("numbers are {other:?}, expected F64, F32, F16 or BF16")),
        };
        let shape = view.shape().to_vec();
        let numbers =
            number.and_then(|number| Numbers::new(view.data(), number, &shape, false).map_err(|e| e.to_string()));
        Ok(Array { name, shape, numbers })
    };
    names.into_iter().map(of_name).collect()
}

/// A name with its numbers as numbers: layer 10 comes after layer 9.
fn natural(name: &str) -> Vec<(u64, String)> {
    let mut parts = vec![(0, String::new())];
    let mut digits = String::new();
    for letter in name.chars() {
        if letter.is_ascii_digit() {
            digits.push(letter);
            continue;
        }
        if !digits.is_empty() {
            parts.push((digits.parse().unwrap_or(u64::MAX), String::new()));
            digits.clear();
        }
        if let Some((_, text)) = parts.last_mut() {
            text.push(letter);
        }
    }
    if !digits.is_empty() {
        parts.push((digits.parse().unwrap_or(u64::MAX), String::new()));
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_are_in_the_order_of_their_numbers() {
        let mut names = ["layers.10.q", "layers.9.q", "a", "layers.9.k"];
        names.sort_by_key(|name| natural(name));
        assert_eq!(names, ["a", "layers.9.k", "layers.9.q", "layers.10.q"]);
    }
}
