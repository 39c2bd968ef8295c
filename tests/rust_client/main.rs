//! The Rust client: typed verbs, errors, futures, watches, multis and recipes, in this process and over TCP.

#![allow(clippy::unwrap_used)]

mod documented;
mod futures;
mod kit;
mod leases;
mod multis;
mod programs;
mod recipes;
mod verbs;
mod watchers;
mod watches;
