//! A target as libFuzzer wants it, with the mutator that keeps lengths right half of the time.

macro_rules! target {
    ($name:literal) => {
        libfuzzer_sys::fuzz_target!(|input: &[u8]| {
            (crate::targets::find($name).expect("a target of that name").run)(input)
        });

        libfuzzer_sys::fuzz_mutator!(|data: &mut [u8], size: usize, size_max: usize, seed: u32| {
            if seed % 2 == 0 {
                return libfuzzer_sys::fuzzer_mutate(data, size, size_max);
            }
            let target = crate::targets::find($name).expect("a target of that name");
            let mut rng = crate::targets::Rng(u64::from(seed));
            let input = &data[..size];
            let mutated = crate::targets::mutate::mutate(input, input, target.shape, size_max, &mut rng);
            data[..mutated.len()].copy_from_slice(&mutated);
            mutated.len()
        });
    };
}

pub(crate) use target;
