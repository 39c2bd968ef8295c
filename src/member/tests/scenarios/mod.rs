//! What other implementations of these protocols got wrong once, each as the steps that led there.

mod elections;
mod histories;
mod sessions;
