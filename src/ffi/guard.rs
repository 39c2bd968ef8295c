//! What every function does first and last: handles checked, panics caught, `errno` kept, the failure put in words.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::ffi::{CStr, CString, c_char, c_void};
use std::mem::MaybeUninit;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use super::codes::*;
use crate::client::handle::code::Outcome;
use crate::client::handle::{Refused, Reply};
use crate::process;

/// A failure: its number and, where the number says too little, a sentence.
pub(super) struct Fail {
    code: zoa_code,
    text: Option<Cow<'static, str>>,
    /// What became of a write, where more is known than its code says.
    outcome: Option<Outcome>,
}

impl Fail {
    pub(super) fn new(code: zoa_code) -> Fail {
        Fail { code, text: None, outcome: None }
    }

    pub(super) fn because(code: zoa_code, text: impl Into<Cow<'static, str>>) -> Fail {
        Fail { code, text: Some(text.into()), outcome: None }
    }

    pub(super) fn with_outcome(self, outcome: Outcome) -> Fail {
        Fail { outcome: Some(outcome), ..self }
    }

    /// What a reply says that is no success, about a path where there is one.
    pub(super) fn of(reply: &Reply, about: Option<&str>) -> Fail {
        match (reply.unsent, about) {
            (Some(why), about) => Fail::because(reply.code, unsent_sentence(reply.code, why, about)),
            (None, Some(path)) => {
                Fail::because(reply.code, format!("{path}: {}", text_of(reply.code).to_string_lossy()))
            }
            (None, None) => Fail::new(reply.code),
        }
        .with_outcome(reply.outcome())
    }

    /// A request that was not taken, about a path where there is one.
    pub(super) fn refused(why: Refused, about: Option<&str>) -> Fail {
        Fail::because(why.code(), unsent_sentence(why.code(), why, about)).with_outcome(Outcome::NotDone)
    }

    pub(super) fn null(what: &'static str) -> Fail {
        Fail::because(ZOA_NULL_ARGUMENT, format!("{what} is NULL"))
    }
}

pub(super) type Fallible<T> = Result<T, Fail>;

thread_local! {
    static LAST_ERROR: RefCell<CString> = RefCell::new(CString::default());
    static LAST_OUTCOME: Cell<Outcome> = const { Cell::new(Outcome::Done) };
}

/// What to say of a request that was not sent.
pub(super) fn unsent_sentence(code: zoa_code, why: Refused, about: Option<&str>) -> String {
    let text = match why {
        Refused::Closed | Refused::Expired | Refused::AuthFailed => text_of(code).to_string_lossy().into_owned(),
        _ => why.to_string(),
    };
    let about = about.map(|path| format!("{path}: ")).unwrap_or_default();
    format!("{about}{text}; the request was not sent")
}

/// Whether the write of this thread's last failed call happened: `ZOA_OUTCOME_NOT_DONE` where that is certain, which often
/// is more than `zoa_code_outcome` can say. A session that had expired before the call has sent nothing, for one.
///
/// Valid as long as `zoa_last_error`, which it leaves as it is. `ZOA_OUTCOME_DONE` if nothing failed yet. Of a result: `zoa_result_outcome`.
#[unsafe(no_mangle)]
pub extern "C" fn zoa_last_outcome() -> i32 {
    LAST_OUTCOME.try_with(|outcome| outcome_number(outcome.get())).unwrap_or(ZOA_OUTCOME_UNKNOWN)
}

/// This thread's last failure in words, with the particulars that the code lacks. Empty if nothing failed yet.
///
/// Valid until this thread's next call of a function of this library. Never NULL.
#[unsafe(no_mangle)]
pub extern "C" fn zoa_last_error() -> *const c_char {
    // In a thread that is ending there is nowhere left to keep a sentence.
    LAST_ERROR.try_with(|text| text.borrow().as_ptr()).unwrap_or(c"".as_ptr())
}

pub(super) fn c_text(text: &str) -> CString {
    let clean: Vec<u8> = text.bytes().filter(|byte| *byte != 0).collect();
    CString::new(clean).unwrap_or_default()
}

/// Keeps `errno` as the caller had it.
struct Errno(i32);

impl Errno {
    fn keep() -> Errno {
        // SAFETY: the location is this thread's own, valid as long as the thread.
        Errno(unsafe { *libc::__errno_location() })
    }
}

impl Drop for Errno {
    fn drop(&mut self) {
        // SAFETY: as above.
        unsafe { *libc::__errno_location() = self.0 }
    }
}

/// A bug at the entry of the next function, where a test has put one.
#[cfg(test)]
fn planted() -> Fallible<()> {
    if super::tests::PLANTED.replace(false) {
        panic!("planted");
    }
    Ok(())
}

#[cfg(not(test))]
fn planted() -> Fallible<()> {
    Ok(())
}

/// Runs the body of a function that belongs to no handle.
pub(super) fn guard(body: impl FnOnce() -> Fallible<()>) -> zoa_code {
    let _errno = Errno::keep();
    match catch_unwind(AssertUnwindSafe(|| planted().and_then(|()| body()))) {
        Ok(Ok(())) => ZOA_OK,
        Ok(Err(fail)) => failed(fail),
        Err(panic) => failed(panicked(&*panic)),
    }
}

/// The same for functions that return something else than a code; `otherwise` stands for every failure.
pub(super) fn guard_value<T>(otherwise: T, body: impl FnOnce() -> Fallible<T>) -> T {
    let _errno = Errno::keep();
    match catch_unwind(AssertUnwindSafe(|| planted().and_then(|()| body()))) {
        Ok(Ok(value)) => value,
        Ok(Err(fail)) => {
            failed(fail);
            otherwise
        }
        Err(panic) => {
            failed(panicked(&*panic));
            otherwise
        }
    }
}

#[cold]
fn failed(Fail { code, text, outcome }: Fail) -> zoa_code {
    let text = match text {
        Some(text) => c_text(&text),
        None => text_of(code).to_owned(),
    };
    let _ = LAST_ERROR.try_with(|last| *last.borrow_mut() = text);
    let _ =
        LAST_OUTCOME.try_with(|last| last.set(outcome.unwrap_or_else(|| crate::client::handle::code::outcome(code))));
    code
}

#[cold]
fn panicked(panic: &(dyn std::any::Any + Send)) -> Fail {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    Fail::because(ZOA_PANIC, format!("a bug in the library was caught: {}", text.unwrap_or("no message")))
}

/// What a child does before anything else: it may only do here what a signal handler may.
extern "C" fn forked() {
    process::forked();
    // Else it would keep its parent's file locked and its ports and connections open, with nobody there to serve them.
    while let Some(descriptor) = process::next_inherited() {
        // SAFETY: the parent's threads own it, and none of them exists here; whoever held it leaves it alone from now on.
        unsafe { libc::close(descriptor) };
    }
}

/// Counts forks from here on, so that a handle knows whether its threads exist here.
extern "C" fn watch_forks() {
    // SAFETY: the handler touches atomics and closes descriptors, nothing else.
    unsafe { libc::pthread_atfork(None, None, Some(forked)) };
}

/// Run when the library is loaded, before any thread of the host can call it: a fork while another thread registers the
/// handler could not be counted.
#[used]
#[unsafe(link_section = ".init_array")]
static WATCH_FORKS: extern "C" fn() = watch_forks;

/// What every handle begins with.
#[repr(C)]
pub(super) struct HandleHead {
    tag: AtomicU32,
    forks: u32,
    broken: AtomicBool,
}

/// A kind of handle. The type lies behind the pointer that C holds.
///
/// # Safety
/// The type is `repr(C)` and begins with a [`HandleHead`].
pub(super) unsafe trait HandleKind {
    /// Four letters that no other kind has.
    const TAG: u32;
}

const FREED: u32 = u32::from_le_bytes(*b"gone");

impl HandleHead {
    pub(super) fn new<K: HandleKind>() -> HandleHead {
        // Named where every program comes by, so that no linker leaves it out of a static program.
        std::hint::black_box(&raw const WATCH_FORKS);
        HandleHead { tag: AtomicU32::new(K::TAG), forks: process::forks(), broken: AtomicBool::new(false) }
    }

    /// Whether this process made the handle.
    pub(super) fn is_ours(&self) -> bool {
        self.forks == process::forks()
    }

    pub(super) fn bury(&self) {
        self.tag.store(FREED, Ordering::SeqCst);
    }
}

/// Looks behind a pointer: a live handle of this kind, made by this process, and not broken.
///
/// # Safety
/// The pointer is NULL or points to memory that begins like a handle. That a freed one is noticed is luck; it remains the
/// caller's bug.
pub(super) unsafe fn look<'a, K: HandleKind>(handle: *const c_void, what: &'static str) -> Fallible<&'a K> {
    if handle.is_null() {
        return Err(Fail::null(what));
    }
    if !handle.cast::<u64>().is_aligned() {
        return Err(Fail::because(ZOA_BAD_HANDLE, format!("{what} is no handle")));
    }
    // SAFETY: every kind begins with a head, and the caller vouches that there is memory.
    let head = unsafe { &*handle.cast::<HandleHead>() };
    if head.tag.load(Ordering::Relaxed) != K::TAG {
        return Err(Fail::because(ZOA_BAD_HANDLE, format!("{what} was freed, or is a handle of another kind")));
    }
    if !head.is_ours() {
        return Err(Fail::new(ZOA_FORKED));
    }
    if head.broken.load(Ordering::Relaxed) {
        return Err(Fail::because(ZOA_PANIC, format!("{what} is spent: a bug was caught in an earlier call")));
    }
    // SAFETY: the tag says that a `K` was made there.
    Ok(unsafe { &*handle.cast::<K>() })
}

/// Runs the body of a function of a handle. After a panic the handle is spent (C-01).
///
/// # Safety
/// As [`look`].
pub(super) unsafe fn with<K: HandleKind>(
    handle: *const c_void,
    what: &'static str,
    body: impl FnOnce(&K) -> Fallible<()>,
) -> zoa_code {
    guard(|| {
        // SAFETY: as the caller says.
        let kind = unsafe { look::<K>(handle, what) }?;
        match catch_unwind(AssertUnwindSafe(|| body(kind))) {
            Ok(result) => result,
            Err(panic) => {
                // SAFETY: it was looked at just now.
                unsafe { &*handle.cast::<HandleHead>() }.broken.store(true, Ordering::SeqCst);
                Err(panicked(&*panic))
            }
        }
    })
}

/// Takes a handle back from C. `None` for NULL, for what is no such handle, and in a forked child, where the threads
/// that share its memory are missing and may have left it locked: there it is left alone.
///
/// # Safety
/// As [`look`], and nobody uses the handle any more.
pub(super) unsafe fn take<K: HandleKind>(handle: *mut c_void) -> Option<Box<K>> {
    // SAFETY: as the caller says.
    unsafe { take_if(handle, |head, _| head.is_ours()) }
}

/// The same under another condition.
///
/// # Safety
/// As [`take`].
pub(super) unsafe fn take_if<K: HandleKind>(
    handle: *mut c_void,
    may_go: impl FnOnce(&HandleHead, &K) -> bool,
) -> Option<Box<K>> {
    if handle.is_null() || !handle.cast::<u64>().is_aligned() {
        return None;
    }
    // SAFETY: as in `look`.
    let head = unsafe { &*handle.cast::<HandleHead>() };
    if head.tag.load(Ordering::SeqCst) != K::TAG {
        return None;
    }
    // SAFETY: the tag says that a `K` was made there.
    if !may_go(head, unsafe { &*handle.cast::<K>() }) {
        return None;
    }
    head.bury();
    // SAFETY: `give` made it from a box, and burying it above keeps a second call out.
    Some(unsafe { Box::from_raw(handle.cast::<K>()) })
}

/// The longest of anything that ZooKeeper's protocol can express.
const FIELD_SIZE_MAX: usize = i32::MAX as usize;

fn fits(size: usize, what: &str) -> Fallible<()> {
    if size > FIELD_SIZE_MAX {
        let text =
            format!("{what} has {size} bytes, more than the {FIELD_SIZE_MAX} that ZooKeeper's protocol can express");
        return Err(Fail::because(ZOA_BAD_ARGUMENTS, text));
    }
    Ok(())
}

/// Text from C.
///
/// # Safety
/// NULL, or NUL-terminated, and unchanged while borrowed.
pub(super) unsafe fn text<'a>(text: *const c_char, what: &'static str) -> Fallible<&'a str> {
    if text.is_null() {
        return Err(Fail::null(what));
    }
    // SAFETY: as the caller says.
    let bytes = unsafe { CStr::from_ptr(text) };
    fits(bytes.count_bytes(), what)?;
    bytes.to_str().map_err(|_| Fail::because(ZOA_BAD_UTF8, format!("{what} is not UTF-8")))
}

/// A path from C: text that begins with a slash, so that a chroot cannot be left by leaving it out.
///
/// # Safety
/// As [`text`].
pub(super) unsafe fn path<'a>(path: *const c_char) -> Fallible<&'a str> {
    // SAFETY: as the caller says.
    let path = unsafe { text(path, "path") }?;
    if !path.starts_with('/') {
        return Err(Fail::because(ZOA_BAD_ARGUMENTS, format!("the path {path:?} does not begin with a slash")));
    }
    Ok(path)
}

/// Bytes from C; `None` is null data.
///
/// # Safety
/// NULL with length 0, or readable for `len` bytes and unchanged while borrowed.
pub(super) unsafe fn bytes<'a>(data: *const c_void, len: usize) -> Fallible<Option<&'a [u8]>> {
    fits(len, "data")?;
    match (data.is_null(), len) {
        (true, 0) => Ok(None),
        (true, _) => Err(Fail::null("data")),
        // SAFETY: as the caller says.
        (false, len) => Ok(Some(unsafe { std::slice::from_raw_parts(data.cast::<u8>(), len) })),
    }
}

/// A place for an output.
///
/// # Safety
/// NULL, or writable and aligned.
pub(super) unsafe fn out<'a, T>(place: *mut T, what: &'static str) -> Fallible<&'a mut MaybeUninit<T>> {
    if place.is_null() || !place.is_aligned() {
        return Err(Fail::null(what));
    }
    // SAFETY: as the caller says.
    Ok(unsafe { &mut *place.cast::<MaybeUninit<T>>() })
}

/// A struct that begins with its size.
///
/// # Safety
/// Zeros are a value of it, and so is whatever C may put behind its first field.
pub(super) unsafe trait SizedStruct: Copy {
    /// Its size in the first release that has it.
    const FIRST_SIZE: usize = size_of::<Self>();
}

/// A struct that begins with its size: what the caller's version does not have is zero.
///
/// # Safety
/// Readable for as many bytes as its first field says.
pub(super) unsafe fn sized<T: SizedStruct>(place: *const T, what: &'static str) -> Fallible<T> {
    if place.is_null() {
        return Err(Fail::null(what));
    }
    // SAFETY: the caller vouches for the first field.
    let size = unsafe { place.cast::<u32>().read_unaligned() } as usize;
    if size < T::FIRST_SIZE {
        let text = format!("{what}.struct_size is {size}, the first release has {}", T::FIRST_SIZE);
        return Err(Fail::because(ZOA_TOO_OLD, text));
    }
    let mut value = MaybeUninit::<T>::zeroed();
    // SAFETY: the caller vouches for `size` bytes, ours has room for the smaller of both, and its tail may be zero.
    unsafe {
        let target = value.as_mut_ptr().cast::<u8>();
        target.copy_from_nonoverlapping(place.cast::<u8>(), size.min(size_of::<T>()));
        Ok(value.assume_init())
    }
}

/// Writes a struct that begins with its size, no more of it than the caller has room for.
///
/// # Safety
/// NULL, or writable for as many bytes as its first field says.
pub(super) unsafe fn write_sized<T: SizedStruct>(place: *mut T, value: T, what: &'static str) -> Fallible<()> {
    // SAFETY: as the caller says.
    let before = unsafe { sized(place.cast_const(), what) }?;
    let _ = before;
    // SAFETY: the caller vouches for as many bytes as it says; the size stays the caller's.
    unsafe {
        let size = place.cast::<u32>().read_unaligned();
        let source = (&raw const value).cast::<u8>();
        place.cast::<u8>().copy_from_nonoverlapping(source, size_of::<T>().min(size as usize));
        place.cast::<u32>().write_unaligned(size);
    }
    Ok(())
}

/// A time limit from C: below 0 is for ever.
pub(super) fn limit(timeout_ms: i32) -> Option<Duration> {
    u64::try_from(timeout_ms).ok().map(Duration::from_millis)
}

/// Blocks all signals for this thread, and so for threads it begins, until dropped: a host's handlers run on the host's
/// threads only.
pub(super) struct SignalsBlocked(libc::sigset_t);

impl SignalsBlocked {
    pub(super) fn new() -> SignalsBlocked {
        let mut before = MaybeUninit::<libc::sigset_t>::zeroed();
        let mut all = MaybeUninit::<libc::sigset_t>::zeroed();
        // SAFETY: both sets are ours, and `sigfillset` makes the first a valid one.
        unsafe {
            libc::sigfillset(all.as_mut_ptr());
            libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), before.as_mut_ptr());
            SignalsBlocked(before.assume_init())
        }
    }
}

impl Drop for SignalsBlocked {
    fn drop(&mut self) {
        // SAFETY: the set is the one this thread had.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.0, std::ptr::null_mut()) };
    }
}
