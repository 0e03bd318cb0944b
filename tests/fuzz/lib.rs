//! The properties of `properties/`, for libFuzzer.

mod properties;

/// Panics if the parser of this name does not have its properties on this input.
pub fn check(target: &str, input: &[u8]) {
    let (_, property) = properties::ALL.iter().find(|(name, _)| *name == target).expect("a target");
    property(input);
}
