//! The part of protocol buffers and of ONNX's schema that a graph needs.
//!
//! Numbers of fields are those of `onnx.proto` (ONNX, IR version 8); they never change between versions.

/// A message: fields in the order they were added.
#[derive(Default)]
pub(super) struct Message(pub(super) Vec<u8>);

impl Message {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    /// A whole number.
    pub(super) fn int(mut self, field: u64, value: i64) -> Self {
        self.varint(field << 3);
        self.varint(value as u64);
        self
    }

    /// Text, bytes or a message within.
    pub(super) fn bytes(mut self, field: u64, value: impl AsRef<[u8]>) -> Self {
        self.varint(field << 3 | 2);
        self.varint(value.as_ref().len() as u64);
        self.0.extend_from_slice(value.as_ref());
        self
    }

    pub(super) fn message(self, field: u64, value: Message) -> Self {
        self.bytes(field, value.0)
    }

    pub(super) fn each<T>(self, values: impl IntoIterator<Item = T>, add: impl Fn(Self, T) -> Self) -> Self {
        values.into_iter().fold(self, add)
    }
}

/// Kinds of tensors: `TensorProto.DataType`.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Kind {
    Float = 1,
    Int64 = 7,
    Double = 11,
}

/// An attribute of a node.
pub(super) enum Attribute {
    Int(&'static str, i64),
    Ints(&'static str, Vec<i64>),
}

impl Attribute {
    fn message(&self) -> Message {
        // AttributeProto: name 1, i 3, ints 8, type 20 (INT 2, INTS 7).
        match self {
            Self::Int(name, value) => Message::default().bytes(1, name).int(3, *value).int(20, 2),
            Self::Ints(name, values) => Message::default().bytes(1, name).each(values, |m, v| m.int(8, *v)).int(20, 7),
        }
    }
}

/// NodeProto: input 1, output 2, name 3, op_type 4, attribute 5.
pub(super) fn node(op: &str, inputs: &[&str], output: &str, attributes: &[Attribute]) -> Message {
    Message::default()
        .each(inputs, |m, input| m.bytes(1, input))
        .bytes(2, output)
        .bytes(3, format!("{output}/{op}"))
        .bytes(4, op)
        .each(attributes, |m, attribute| m.message(5, attribute.message()))
}

/// TensorProto: dims 1, data_type 2, name 8, raw_data 9.
pub(super) fn tensor(name: &str, dims: &[usize], kind: Kind, raw: &[u8]) -> Message {
    Message::default().each(dims, |m, dim| m.int(1, *dim as i64)).int(2, kind as i64).bytes(8, name).bytes(9, raw)
}

/// A size of an input or an output.
#[derive(Clone, Copy)]
pub(super) enum Size {
    Fixed(usize),
    Named(&'static str),
}

/// ValueInfoProto: name 1, type 2 {tensor_type 1 {elem_type 1, shape 2 {dim 1 {dim_value 1, dim_param 2}}}}.
pub(super) fn value(name: &str, kind: Kind, sizes: &[Size]) -> Message {
    let shape = Message::default().each(sizes, |m, size| {
        m.message(
            1,
            match size {
                Size::Fixed(value) => Message::default().int(1, *value as i64),
                Size::Named(name) => Message::default().bytes(2, name),
            },
        )
    });
    let tensor = Message::default().int(1, kind as i64).message(2, shape);
    Message::default().bytes(1, name).message(2, Message::default().message(1, tensor))
}

/// StringStringEntryProto: key 1, value 2.
pub(super) fn property(key: &str, value: &str) -> Message {
    Message::default().bytes(1, key).bytes(2, value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_those_of_protocol_buffers() {
        // The documentation's examples: 150 in field 1, "testing" in field 2; -1 as ten bytes.
        assert_eq!(Message::default().int(1, 150).0, [0x08, 0x96, 0x01]);
        let text = Message::default().bytes(2, "testing").0;
        assert_eq!(text, [0x12, 0x07, b't', b'e', b's', b't', b'i', b'n', b'g']);
        let negative = Message::default().int(3, -1).0;
        assert_eq!(negative, [0x18, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]);
        assert_eq!(Message::default().message(3, Message::default().int(1, 150)).0, [0x1a, 0x03, 0x08, 0x96, 0x01]);
        // Fields above 15 take two bytes.
        assert_eq!(Message::default().int(20, 7).0, [0xa0, 0x01, 0x07]);
    }
}
