//! The Rust client: typed verbs, errors, futures, watches, multis and recipes, in this process and over TCP.

#![allow(clippy::unwrap_used)]

mod futures;
mod kit;
mod multis;
mod recipes;
mod verbs;
mod watches;
