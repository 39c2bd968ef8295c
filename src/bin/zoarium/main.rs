//! The `zoarium` command.

fn main() {}
