//! The words there are, and who decides which are answered.

/// A four-letter word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // each is its own name
pub enum Word {
    Conf,
    Cons,
    Crst,
    Dirs,
    Dump,
    Envi,
    Gtmk,
    Hash,
    Isro,
    Mntr,
    Ruok,
    Srst,
    Srvr,
    Stat,
    Stmk,
    Wchc,
    Wchp,
    Wchs,
}

impl Word {
    /// Every word.
    pub const ALL: [Word; 18] = [
        Word::Conf,
        Word::Cons,
        Word::Crst,
        Word::Dirs,
        Word::Dump,
        Word::Envi,
        Word::Gtmk,
        Word::Hash,
        Word::Isro,
        Word::Mntr,
        Word::Ruok,
        Word::Srst,
        Word::Srvr,
        Word::Stat,
        Word::Stmk,
        Word::Wchc,
        Word::Wchp,
        Word::Wchs,
    ];

    /// The word these bytes are, if they are one: the first four bytes of a connection.
    pub fn from_bytes(bytes: [u8; 4]) -> Option<Word> {
        Word::ALL.into_iter().find(|word| word.as_str().as_bytes() == bytes)
    }

    /// Its four letters.
    pub fn as_str(self) -> &'static str {
        match self {
            Word::Conf => "conf",
            Word::Cons => "cons",
            Word::Crst => "crst",
            Word::Dirs => "dirs",
            Word::Dump => "dump",
            Word::Envi => "envi",
            Word::Gtmk => "gtmk",
            Word::Hash => "hash",
            Word::Isro => "isro",
            Word::Mntr => "mntr",
            Word::Ruok => "ruok",
            Word::Srst => "srst",
            Word::Srvr => "srvr",
            Word::Stat => "stat",
            Word::Stmk => "stmk",
            Word::Wchc => "wchc",
            Word::Wchp => "wchp",
            Word::Wchs => "wchs",
        }
    }

    /// Whether it is answered with its own text while there is no quorum, not with [`NOT_SERVING`](super::NOT_SERVING).
    pub fn works_without_quorum(self) -> bool {
        matches!(self, Word::Ruok | Word::Envi | Word::Gtmk | Word::Stmk | Word::Isro)
    }
}

/// `4lw.commands.whitelist`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whitelist {
    /// `*`: every word.
    All,
    /// These, and `srvr` always, and `isro` where read-only mode is on.
    Only(Vec<Word>),
}

impl Default for Whitelist {
    /// Without the key: `srvr` alone, as in ZooKeeper since 3.5.3. None of the others may be asked by anybody who can
    /// connect, because they cost or tell more.
    fn default() -> Self {
        Whitelist::Only(Vec::new())
    }
}

impl Whitelist {
    /// Reads the value of the key: words separated by commas, blanks allowed, `*` for all.
    ///
    /// Words that do not exist are dropped, as they can never be asked for.
    pub fn parse(value: &str) -> Whitelist {
        let names = || value.split(',').map(str::trim);
        if names().any(|name| name == "*") {
            return Whitelist::All;
        }
        Whitelist::Only(Word::ALL.into_iter().filter(|word| names().any(|name| name == word.as_str())).collect())
    }
}

/// Whether `word` is answered.
pub fn is_allowed(word: Word, whitelist: &Whitelist, read_only_mode: bool) -> bool {
    match whitelist {
        Whitelist::All => true,
        Whitelist::Only(words) => word == Word::Srvr || (word == Word::Isro && read_only_mode) || words.contains(&word),
    }
}

/// The answer to a word that is not allowed, its newline included.
pub fn refused(word: Word) -> String {
    format!("{} is not executed because it is not in the whitelist.\n", word.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(whitelist: &Whitelist, read_only_mode: bool) -> String {
        let words: Vec<&str> = Word::ALL
            .into_iter()
            .filter(|word| is_allowed(*word, whitelist, read_only_mode))
            .map(Word::as_str)
            .collect();
        words.join(" ")
    }

    #[test]
    fn without_the_key_srvr_alone_is_allowed() {
        //
        assert_eq!(allowed(&Whitelist::default(), false), "srvr");
        assert_eq!(allowed(&Whitelist::default(), true), "isro srvr");
    }

    #[test]
    fn with_the_key_it_means_what_zookeeper_says() {
        assert_eq!(allowed(&Whitelist::parse("ruok, stat ,,nope"), false), "ruok srvr stat");
        assert_eq!(allowed(&Whitelist::parse("ruok"), true), "isro ruok srvr");
        assert_eq!(allowed(&Whitelist::parse(""), false), "srvr");
        assert_eq!(allowed(&Whitelist::parse("RUOK"), false), "srvr");
        assert_eq!(Whitelist::parse("ruok, *"), Whitelist::All);
        assert!(Word::ALL.into_iter().all(|word| is_allowed(word, &Whitelist::All, false)));
    }

    #[test]
    fn bytes_are_a_word_only_letter_by_letter() {
        assert!(Word::ALL.into_iter().all(|w| Word::from_bytes(w.as_str().as_bytes().try_into().unwrap()) == Some(w)));
        assert_eq!(Word::from_bytes(*b"RUOK"), None);
        assert_eq!(Word::from_bytes([0, 0, 0, 44]), None);
    }

    #[test]
    fn a_refused_word_hears_zookeepers_text() {
        assert_eq!(refused(Word::Wchc), "wchc is not executed because it is not in the whitelist.\n");
    }
}
