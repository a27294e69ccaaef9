//! Functions compiled for the widest vectors of the machine they run on.

/// Defines functions whose body is compiled once for every width of vectors and run in the widest the machine has.
///
/// A closure handed to `pulp` would read shorter, but nothing makes the compiler inline it where the vectors are switched
/// on, and then it runs without them: `mul_add` and `floor` become calls, ten times slower. A method that is marked does.
/// Bodies hold loops over slices; what they compute must not depend on the width.
macro_rules! widest {
    ($(
        $(#[$meta:meta])*
        $visibility:vis fn $name:ident($($argument:ident: $type:ty),* $(,)?) -> $output:ty $body:block
    )*) => {$(
        $(#[$meta])*
        $visibility fn $name($($argument: $type),*) -> $output {
            struct Work<T>(T);
            impl pulp::WithSimd for Work<($($type,)*)> {
                type Output = $output;

                #[inline(always)]
                fn with_simd<S: pulp::Simd>(self, _: S) -> $output {
                    let Work(($($argument,)*)) = self;
                    $body
                }
            }
            pulp::Arch::new().dispatch(Work(($($argument,)*)))
        }
    )*};
}

pub(crate) use widest;
