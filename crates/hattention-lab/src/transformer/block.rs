//! Kinds of blocks and kernels.

/// How a layer moves its tokens; formulas stand in [`crate::transformer`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Block {
    /// Attention and network, each added.
    Plain,
    /// Plain, with a second embedding added at the start.
    Summed,
    /// Plain, with a second embedding added in every half of a layer.
    Injected,
    /// H0: momentum.
    HeavyBall,
    /// Y: momentum with look-ahead.
    YuriiFormer,
    /// Momentum, corrected by the geometry at the momentum before.
    H1,
    /// Momentum, corrected twice by the geometry at the new one.
    R2,
    /// Momenta of heads by Euler's step.
    Euler,
    /// Momenta of heads, damping taken exactly.
    ExponentialEuler,
    /// Momenta of heads, kick before drift (presymplectic).
    KickDrift,
    /// Kick–drift by the gradient of one energy: the future leaks into it. For demonstrations.
    Leaking,
}

impl Block {
    /// All of them, the leaking one last.
    pub const ALL: [Self; 11] = [
        Self::Plain,
        Self::Summed,
        Self::Injected,
        Self::HeavyBall,
        Self::YuriiFormer,
        Self::H1,
        Self::R2,
        Self::Euler,
        Self::ExponentialEuler,
        Self::KickDrift,
        Self::Leaking,
    ];

    /// Its name, as `heavy-ball`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Summed => "summed",
            Self::Injected => "injected",
            Self::HeavyBall => "heavy-ball",
            Self::YuriiFormer => "yuriiformer",
            Self::H1 => "h1",
            Self::R2 => "r2",
            Self::Euler => "euler",
            Self::ExponentialEuler => "exponential-euler",
            Self::KickDrift => "kick-drift",
            Self::Leaking => "leaking",
        }
    }

    /// The block of that name.
    pub fn of(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|block| block.word() == word)
    }

    /// Whether tokens have a second embedding.
    pub fn has_second_embedding(self) -> bool {
        self != Self::Plain
    }

    /// Whether both halves of a layer carry a normed momentum.
    pub(super) fn is_normed(self) -> bool {
        matches!(self, Self::HeavyBall | Self::YuriiFormer | Self::H1 | Self::R2)
    }

    /// Whether heads have momenta.
    pub(super) fn is_stepped(self) -> bool {
        matches!(self, Self::Euler | Self::ExponentialEuler | Self::KickDrift | Self::Leaking)
    }
}

/// What scores become.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kernel {
    /// Their exponentials.
    Softmax,
    /// Themselves.
    Linear,
}

impl Kernel {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Softmax, Self::Linear];

    /// `softmax` or `linear`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Softmax => "softmax",
            Self::Linear => "linear",
        }
    }

    /// The kernel of that name.
    pub fn of(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kernel| kernel.word() == word)
    }
}
