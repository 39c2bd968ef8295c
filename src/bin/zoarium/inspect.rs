//! `zoarium inspect`: what is in a data file, without a server and without changing it.

use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use zoarium::store::{InspectLine, InspectVerdict, inspect, os_text};

use crate::describe::describe;
use crate::exit;
use crate::out;
use crate::paint::{Ink, Paint, complain};

/// Look into a data file: superblocks, extents, snapshots, frames, transactions, and whether it is whole.
#[derive(Args)]
#[command(after_help = "\
Examples:
  zoarium inspect zoarium-data         everything in the file of that folder, transactions as lines
  zoarium inspect zoarium.db --brief   superblocks, snapshots and the verdict
  zoarium inspect zoarium.db --data    the first bytes of each znode's data, too

Reads only, also while a server uses the file: then it shows the state of one moment. Data is left out
unless asked for, and hashes of passwords always.

A copy made while a server writes to the file has its pieces from different moments, and a server may not
start on it. Check each copy with --brief: good or torn, a server starts on it; damaged, copy again. Stop
the server before copying to be sure; there is no backup of a running server yet.

Exit codes: 0 whole, or torn where a crash may tear it; 1 damaged, or not our file; 2 no such file.")]
pub(crate) struct InspectArguments {
    /// The file, or the folder with a zoarium.db in it.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Leave out extents, frames and transactions.
    #[arg(long)]
    brief: bool,
    /// Show the first bytes of data.
    #[arg(long, conflicts_with = "brief")]
    data: bool,
}

pub(crate) fn run(arguments: &InspectArguments) -> ExitCode {
    let path = if arguments.file.is_dir() { arguments.file.join("zoarium.db") } else { arguments.file.clone() };
    if let Err(error) = std::fs::metadata(&path) {
        complain(format!("{}: {}", path.display(), os_text(&error)));
        return ExitCode::from(exit::USAGE);
    }
    let mut lines = BufWriter::new(io::stdout().lock());
    let mut is_read = true;
    let result = inspect(&path, &mut |line| {
        // Once the reader is gone (`| head`) there is nobody to write for.
        if let (true, Some(text)) = (is_read, render(&line, arguments)) {
            is_read = out::note(writeln!(lines, "{text}"));
        }
    });
    match result {
        Ok(verdict) => {
            let (ink, text) = judge(&verdict);
            out::note(writeln!(lines, "{}", Paint::stdout().paint(ink, &text)).and_then(|()| lines.flush()));
            match verdict {
                InspectVerdict::Damaged { .. } => ExitCode::from(exit::REFUSED),
                _ => ExitCode::SUCCESS,
            }
        }
        Err(error) => {
            out::note(lines.flush());
            complain(format!("{}: {error}", path.display()));
            ExitCode::from(exit::REFUSED)
        }
    }
}

fn render(line: &InspectLine<'_>, arguments: &InspectArguments) -> Option<String> {
    let InspectArguments { brief, data, .. } = arguments;
    Some(match line {
        InspectLine::File { len, in_use } => {
            format!("file        {len} bytes{}", if *in_use { ", in use by a server" } else { "" })
        }
        InspectLine::Superblock(copy) => {
            let place = format!("superblock  slot {} mirror {} at {}", copy.slot, copy.mirror, copy.offset);
            match &copy.generation {
                Ok(generation) => format!("{place}: generation {generation}"),
                Err(why) => format!("{place}: not valid, {why}"),
            }
        }
        InspectLine::Root { file_uuid, server_id, extent_size, incarnation, clean, accepted_epoch, current_epoch } => {
            let uuid: String = file_uuid.iter().map(|byte| format!("{byte:02x}")).collect();
            let stopped = if *clean { "stopped cleanly" } else { "not stopped cleanly" };
            format!(
                "root        uuid {uuid} server {server_id} extents of {extent_size} bytes, opened {incarnation} times, \
                 {stopped}, epochs accepted {accepted_epoch} current {current_epoch}"
            )
        }
        InspectLine::Extent { .. } | InspectLine::Frame { .. } | InspectLine::Record { .. } if *brief => return None,
        InspectLine::Extent { index, offset, state, order } => {
            format!("extent      {index} at {offset}: {state} {order}")
        }
        InspectLine::Snapshot { slot, id, zxid, bytes, entries, log_after, whole } => {
            let whole = match whole {
                Ok(()) => "whole".to_owned(),
                Err((at, why)) => format!("damaged at byte {at}: {why}"),
            };
            let log =
                if log_after < zxid { format!(", with data in the log after {log_after}") } else { String::new() };
            format!("snapshot    slot {slot} number {id} zxid {zxid}: {entries} entries, {bytes} bytes{log}, {whole}")
        }
        InspectLine::CoveredDamage { offset, cause } => format!(
            "log         damaged at byte {offset}: {cause}; the newest snapshot covers this part: a server starts with \
             everything, takes a new snapshot and gives this part up"
        ),
        InspectLine::Frame { offset, fseq, incarnation, kind, len, synced_fseq, last_zxid, records } => format!(
            "frame       {fseq} at {offset}: {kind} {records} records, {len} bytes, opening {incarnation}, \
             synced up to frame {synced_fseq}, last zxid {last_zxid}"
        ),
        InspectLine::Record { zxid: _, txn } => {
            format!("  {}", describe(txn, *data).replace('\n', "\n  "))
        }
        _ => return None,
    })
}

fn judge(verdict: &InspectVerdict) -> (Ink, String) {
    match verdict {
        InspectVerdict::Good { end } => (Ink::Good, format!("verdict: good, the log ends at byte {end}")),
        InspectVerdict::Torn { at, why } => {
            (Ink::Warning, format!("verdict: torn at byte {at}: {why}; a server goes on from there"))
        }
        InspectVerdict::Unfinished => (
            Ink::Warning,
            "verdict: a file under the name of a creation, which goes on or was cut short; a server begins it anew"
                .to_owned(),
        ),
        InspectVerdict::Damaged { at, cause, good_to, lost_to } => {
            let lost = match lost_to {
                Some(zxid) => format!("lost for certain up to zxid {zxid}"),
                None => "what is lost behind it is unknown".to_owned(),
            };
            let text = format!("verdict: damaged at byte {at}: {cause}; readable up to zxid {good_to}, {lost}");
            (Ink::Error, text)
        }
    }
}
