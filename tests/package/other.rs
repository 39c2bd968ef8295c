//! Another Rust library: uses the standard library's allocator, threads and unwinding, and knows nothing of Zoarium.

#[no_mangle]
pub extern "C" fn other_catches(number: u32) -> u32 {
    let thread = std::thread::spawn(move || {
        let words: std::collections::HashMap<u32, String> = (0..number).map(|n| (n, n.to_string())).collect();
        assert!(words.len() < 5, "on purpose");
        number
    });
    thread.join().unwrap_or(77)
}
