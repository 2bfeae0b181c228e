#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../operator/profile/tests/parsers/properties.rs"]
#[allow(dead_code, reason = "each target uses one property")]
mod properties;

fuzz_target!(|data: &[u8]| properties::program(data));
