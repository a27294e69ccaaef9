//! A graph that grows node by node.

use super::Precision;
use super::proto::{Attribute, Kind, Message, Size, node, tensor, value};
use crate::matrix::Matrix;

/// The name of a value in a graph.
pub(super) type Name = String;

/// Nodes in the order of computation, and the constants they use.
pub(super) struct Graph {
    precision: Precision,
    nodes: Vec<Message>,
    initializers: Vec<Message>,
    inputs: Vec<Message>,
    outputs: Vec<Message>,
}

impl Graph {
    pub(super) fn new(precision: Precision) -> Self {
        Self { precision, nodes: Vec::new(), initializers: Vec::new(), inputs: Vec::new(), outputs: Vec::new() }
    }

    pub(super) fn precision(&self) -> Precision {
        self.precision
    }

    pub(super) fn kind(&self) -> Kind {
        match self.precision {
            Precision::F64 => Kind::Double,
            Precision::F32 => Kind::Float,
        }
    }

    pub(super) fn input(&mut self, name: &str, sizes: &[Size]) -> Name {
        self.inputs.push(value(name, self.kind(), sizes));
        name.to_owned()
    }

    pub(super) fn output(&mut self, name: &str, sizes: &[Size]) {
        self.outputs.push(value(name, self.kind(), sizes));
    }

    /// A node with one output.
    pub(super) fn apply(&mut self, op: &str, inputs: &[&Name], output: impl Into<Name>) -> Name {
        self.apply_with(op, inputs, output, &[])
    }

    pub(super) fn apply_with(
        &mut self,
        op: &str,
        inputs: &[&Name],
        output: impl Into<Name>,
        attributes: &[Attribute],
    ) -> Name {
        let output = output.into();
        let inputs: Vec<&str> = inputs.iter().map(|input| input.as_str()).collect();
        self.nodes.push(node(op, &inputs, &output, attributes));
        output
    }

    /// A constant of the graph's precision.
    pub(super) fn constant(&mut self, name: impl Into<Name>, sizes: &[usize], values: &[f64]) -> Name {
        if self.precision == Precision::F64 {
            return self.doubles(name, sizes, values);
        }
        let name = name.into();
        let raw: Vec<u8> = values.iter().flat_map(|x| (*x as f32).to_le_bytes()).collect();
        self.initializers.push(tensor(&name, sizes, Kind::Float, &raw));
        name
    }

    /// A constant of doubles, whatever the graph's precision.
    pub(super) fn doubles(&mut self, name: impl Into<Name>, sizes: &[usize], values: &[f64]) -> Name {
        let name = name.into();
        let raw: Vec<u8> = values.iter().flat_map(|x| x.to_le_bytes()).collect();
        self.initializers.push(tensor(&name, sizes, Kind::Double, &raw));
        name
    }

    pub(super) fn matrix(&mut self, name: impl Into<Name>, matrix: &Matrix) -> Name {
        self.constant(name, &[matrix.rows, matrix.columns], &matrix.data)
    }

    /// A constant of whole numbers; a scalar if `sizes` is empty.
    pub(super) fn integers(&mut self, name: impl Into<Name>, sizes: &[usize], values: &[i64]) -> Name {
        let name = name.into();
        let raw: Vec<u8> = values.iter().flat_map(|x| x.to_le_bytes()).collect();
        self.initializers.push(tensor(&name, sizes, Kind::Int64, &raw));
        name
    }

    /// GraphProto: node 1, name 2, initializer 5, input 11, output 12.
    pub(super) fn message(self, name: &str) -> Message {
        Message::default()
            .each(self.nodes, |m, node| m.message(1, node))
            .bytes(2, name)
            .each(self.initializers, |m, tensor| m.message(5, tensor))
            .each(self.inputs, |m, input| m.message(11, input))
            .each(self.outputs, |m, output| m.message(12, output))
    }
}
