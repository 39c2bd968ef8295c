//! The jute encoding as a serde data format: big-endian numbers, length-prefixed strings, buffers and vectors,
//! no tags, no padding.
//!
//! Decoding borrows from the input. Every length is checked against the bytes that are present and against a field
//! limit before anything is allocated, so a claimed length costs nothing. A null (length −1) is told from an empty
//! value: nullable fields are [`Text`], [`Buffer`] or `Option<Vec<_>>`; a null where none is allowed is an error.
//! `Option` is for length-prefixed values only.

use std::borrow::Cow;
use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, SeqAccess, Visitor};
use serde::ser::{self, Serializer};
use serde::{Deserialize, Serialize};

use crate::meter;

/// Why bytes are not the record they should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JuteError {
    /// The input ends inside a value: `needed` more bytes were due, `left` are there.
    Truncated {
        /// Bytes the value takes.
        needed: usize,
        /// Bytes present.
        left: usize,
    },
    /// A length or count that is negative, or above the limit in bytes.
    BadLength {
        /// The length as read.
        length: i32,
        /// The largest allowed.
        limit: usize,
    },
    /// Something jute cannot express or the record does not allow.
    Invalid(String),
}

impl fmt::Display for JuteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            JuteError::Truncated { needed, left } => write!(f, "record cut short: {needed} bytes due, {left} left"),
            JuteError::BadLength { length, limit } => write!(f, "bad length {length} (limit {limit})"),
            JuteError::Invalid(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for JuteError {}

impl de::Error for JuteError {
    fn custom<T: fmt::Display>(msg: T) -> Self {
        JuteError::Invalid(msg.to_string())
    }
}

impl ser::Error for JuteError {
    fn custom<T: fmt::Display>(msg: T) -> Self {
        JuteError::Invalid(msg.to_string())
    }
}

/// The default limit on one field, in bytes: twice ZooKeeper's `jute.maxbuffer`.
pub const FIELD_SIZE_MAX: usize = 2 * 0xf_ffff;

// ---------------------------------------------------------------------------------------------------------------
// Nullable fields

/// A jute `ustring` that may be null.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Text<'a>(pub Option<Cow<'a, str>>);

impl<'a> Text<'a> {
    /// A string that is there.
    pub fn new(text: &'a str) -> Text<'a> {
        Text(Some(Cow::Borrowed(text)))
    }

    /// The text, with null as the empty string.
    pub fn as_str(&self) -> &str {
        self.0.as_deref().unwrap_or("")
    }

    /// Whether the length was −1.
    pub fn is_null(&self) -> bool {
        self.0.is_none()
    }

    /// The same text, borrowing nothing.
    pub fn into_owned(self) -> Text<'static> {
        Text(self.0.map(|text| Cow::Owned(text.into_owned())))
    }
}

impl<'a> From<&'a str> for Text<'a> {
    fn from(text: &'a str) -> Self {
        Text::new(text)
    }
}

impl From<String> for Text<'static> {
    fn from(text: String) -> Self {
        Text(Some(Cow::Owned(text)))
    }
}

impl Serialize for Text<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0 {
            None => serializer.serialize_none(),
            Some(text) => serializer.serialize_str(text),
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    #[inline]
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;
        impl<'de> Visitor<'de> for TextVisitor {
            type Value = Text<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }
            fn visit_none<E>(self) -> Result<Text<'de>, E> {
                Ok(Text(None))
            }
            fn visit_some<D: Deserializer<'de>>(self, d: D) -> Result<Text<'de>, D::Error> {
                d.deserialize_str(self)
            }
            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Some(Cow::Borrowed(text))))
            }
            fn visit_str<E>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Some(Cow::Owned(text.to_owned()))))
            }
        }
        deserializer.deserialize_option(TextVisitor)
    }
}

/// A jute `buffer` that may be null.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Buffer<'a>(pub Option<&'a [u8]>);

impl<'a> Buffer<'a> {
    /// Bytes that are there, possibly none.
    pub fn new(bytes: &'a [u8]) -> Buffer<'a> {
        Buffer(Some(bytes))
    }

    /// The number of bytes; 0 for null.
    pub fn len(&self) -> usize {
        self.0.map_or(0, <[u8]>::len)
    }

    /// Whether there is no byte: null or empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Serialize for Buffer<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            None => serializer.serialize_none(),
            Some(bytes) => serializer.serialize_bytes(bytes),
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Buffer<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct BufferVisitor;
        impl<'de> Visitor<'de> for BufferVisitor {
            type Value = Buffer<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a buffer")
            }
            fn visit_none<E>(self) -> Result<Buffer<'de>, E> {
                Ok(Buffer(None))
            }
            fn visit_some<D: Deserializer<'de>>(self, d: D) -> Result<Buffer<'de>, D::Error> {
                d.deserialize_bytes(self)
            }
            fn visit_borrowed_bytes<E>(self, bytes: &'de [u8]) -> Result<Buffer<'de>, E> {
                Ok(Buffer(Some(bytes)))
            }
        }
        deserializer.deserialize_option(BufferVisitor)
    }
}

// ---------------------------------------------------------------------------------------------------------------
// Decoding

/// Decodes one record from the front of `input`; bytes after it are ignored, as ZooKeeper does.
///
/// # Errors
/// [`JuteError`] when the input ends early or holds an impossible length.
pub fn decode<'de, T: Deserialize<'de>>(input: &'de [u8]) -> Result<T, JuteError> {
    Decoder::new(input).read()
}

/// Reads records one after the other from a byte slice.
#[derive(Clone, Debug)]
pub struct Decoder<'de> {
    input: &'de [u8],
    field_size_max: usize,
}

impl<'de> Decoder<'de> {
    /// Starts at the first byte of `input`, with [`FIELD_SIZE_MAX`].
    pub fn new(input: &'de [u8]) -> Decoder<'de> {
        Decoder { input, field_size_max: FIELD_SIZE_MAX }
    }

    /// The same with another limit on one field, in bytes.
    pub fn with_limit(input: &'de [u8], field_size_max: usize) -> Decoder<'de> {
        Decoder { input, field_size_max }
    }

    /// Reads the next record.
    ///
    /// # Errors
    /// [`JuteError`] when the input ends early or holds an impossible length.
    #[inline]
    pub fn read<T: Deserialize<'de>>(&mut self) -> Result<T, JuteError> {
        T::deserialize(self)
    }

    /// The bytes not read yet.
    pub fn rest(&self) -> &'de [u8] {
        self.input
    }

    #[inline]
    fn take(&mut self, count: usize) -> Result<&'de [u8], JuteError> {
        meter::steps(1 + count / 32);
        match self.input.split_at_checked(count) {
            Some((head, rest)) => {
                self.input = rest;
                Ok(head)
            }
            None => Err(JuteError::Truncated { needed: count, left: self.input.len() }),
        }
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Result<[u8; N], JuteError> {
        match self.input.split_first_chunk::<N>() {
            Some((head, rest)) => {
                self.input = rest;
                Ok(*head)
            }
            None => Err(JuteError::Truncated { needed: N, left: self.input.len() }),
        }
    }

    #[inline]
    fn length(&mut self) -> Result<usize, JuteError> {
        let length = i32::from_be_bytes(self.array()?);
        match usize::try_from(length) {
            Ok(count) if count <= self.field_size_max => Ok(count),
            _ => Err(JuteError::BadLength { length, limit: self.field_size_max }),
        }
    }

    #[inline]
    fn bytes(&mut self) -> Result<&'de [u8], JuteError> {
        let count = self.length()?;
        self.take(count)
    }
}

fn unsupported<T>(what: &str) -> Result<T, JuteError> {
    Err(JuteError::Invalid(format!("jute has no {what}")))
}

macro_rules! no_jute {
    ($($method:ident $what:literal)*) => {$(
        fn $method<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, JuteError> {
            unsupported($what)
        }
    )*};
}

impl<'de> Deserializer<'de> for &mut Decoder<'de> {
    type Error = JuteError;

    #[inline]
    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, JuteError> {
        let [byte] = self.array()?;
        visitor.visit_bool(byte != 0)
    }

    #[inline]
    fn deserialize_i8<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, JuteError> {
        let [byte] = self.array()?;
        visitor.visit_i8(byte as i8)
    }

    #[inline]
    fn deserialize_i32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, JuteError> {
        visitor.visit_i32(i32::from_be_bytes(self.array()?))
    }

    #[inline]
    fn deserialize_i64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, JuteError> {
        visitor.visit_i64(i64::from_be_bytes(self.array()?))
    }

    #[inline]
    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, JuteError> {
        let bytes = self.bytes()?;
        match std::str::from_utf8(bytes) {
            Ok(text) => visitor.visit_borrowed_str(text),
            // As Java decodes it: U+FFFD for what is no UTF-8. That character is illegal in a path.
            Err(_) => visitor.visit_str(&String::from_utf8_lossy(bytes)),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, JuteError> {
        self.deserialize_str(visitor)
    }

    #[inline]
    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, JuteError> {
        visitor.visit_borrowed_bytes(self.bytes()?)
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, JuteError> {
        self.deserialize_bytes(visitor)
    }

    #[inline]
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, JuteError> {
        if self.input.first_chunk::<4>() == Some(&[0xff; 4]) {
            self.take(4)?;
            visitor.visit_none()
        } else {
            visitor.visit_some(self)
        }
    }

    #[inline]
    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, JuteError> {
        let count = i32::from_be_bytes(self.array()?);
        // Java's loops run zero times for any negative count; only −1 is null, which is not allowed here.
        let count = match usize::try_from(count) {
            Ok(count) => count,
            Err(_) if count < -1 => 0,
            Err(_) => return Err(JuteError::BadLength { length: count, limit: self.input.len() }),
        };
        // Every element takes at least one byte, so a larger count is a lie; say so before anything is reserved.
        if count > self.input.len() {
            return Err(JuteError::Truncated { needed: count, left: self.input.len() });
        }
        visitor.visit_seq(Elements { decoder: self, left: count, reserve_max: 256 })
    }

    #[inline]
    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, JuteError> {
        visitor.visit_seq(Elements { decoder: self, left: len, reserve_max: len })
    }

    #[inline]
    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, JuteError> {
        self.deserialize_tuple(len, visitor)
    }

    #[inline]
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, JuteError> {
        self.deserialize_tuple(fields.len(), visitor)
    }

    #[inline]
    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, JuteError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, JuteError> {
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, _name: &'static str, visitor: V) -> Result<V::Value, JuteError> {
        visitor.visit_unit()
    }

    no_jute! {
        deserialize_any "self-describing value" deserialize_ignored_any "skippable value"
        deserialize_i16 "i16" deserialize_u8 "u8" deserialize_u16 "u16" deserialize_u32 "u32"
        deserialize_u64 "u64" deserialize_f32 "f32" deserialize_f64 "f64" deserialize_char "char"
        deserialize_map "map" deserialize_identifier "identifier"
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        _visitor: V,
    ) -> Result<V::Value, JuteError> {
        unsupported("enum")
    }

    fn is_human_readable(&self) -> bool {
        false
    }
}

struct Elements<'d, 'de> {
    decoder: &'d mut Decoder<'de>,
    left: usize,
    reserve_max: usize,
}

impl<'de> SeqAccess<'de> for Elements<'_, 'de> {
    type Error = JuteError;

    #[inline]
    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, JuteError> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        seed.deserialize(&mut *self.decoder).map(Some)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.left.min(self.reserve_max))
    }
}

// ---------------------------------------------------------------------------------------------------------------
// Encoding

/// Appends the record to `out`.
///
/// Panics when a string, buffer or vector is longer than `i32::MAX`, which no record of ours can hold.
#[inline]
pub fn encode<T: Serialize + ?Sized>(record: &T, out: &mut Vec<u8>) {
    record.serialize(Encoder { out }).expect("records hold only what jute can express");
}

/// The record as bytes of its own.
pub fn encoded<T: Serialize + ?Sized>(record: &T) -> Vec<u8> {
    // Growing step by step costs more than a few unused bytes.
    let mut out = Vec::with_capacity(256);
    encode(record, &mut out);
    out
}

struct Encoder<'a> {
    out: &'a mut Vec<u8>,
}

impl Encoder<'_> {
    #[inline]
    fn length(&mut self, length: usize) -> Result<(), JuteError> {
        let length = i32::try_from(length).map_err(|_| JuteError::Invalid("longer than i32::MAX".into()))?;
        self.out.extend_from_slice(&length.to_be_bytes());
        Ok(())
    }
}

macro_rules! no_encode {
    ($($method:ident $ty:ty)*) => {$(
        fn $method(self, _v: $ty) -> Result<(), JuteError> { unsupported(stringify!($ty)) }
    )*};
}

impl<'a> Serializer for Encoder<'a> {
    type Ok = ();
    type Error = JuteError;
    type SerializeSeq = Fields<'a>;
    type SerializeTuple = Fields<'a>;
    type SerializeTupleStruct = Fields<'a>;
    type SerializeStruct = Fields<'a>;
    type SerializeTupleVariant = ser::Impossible<(), JuteError>;
    type SerializeMap = ser::Impossible<(), JuteError>;
    type SerializeStructVariant = ser::Impossible<(), JuteError>;

    #[inline]
    fn serialize_bool(self, v: bool) -> Result<(), JuteError> {
        self.out.push(u8::from(v));
        Ok(())
    }

    #[inline]
    fn serialize_i8(self, v: i8) -> Result<(), JuteError> {
        self.out.push(v as u8);
        Ok(())
    }

    #[inline]
    fn serialize_i32(self, v: i32) -> Result<(), JuteError> {
        self.out.extend_from_slice(&v.to_be_bytes());
        Ok(())
    }

    #[inline]
    fn serialize_i64(self, v: i64) -> Result<(), JuteError> {
        self.out.extend_from_slice(&v.to_be_bytes());
        Ok(())
    }

    #[inline]
    fn serialize_str(self, v: &str) -> Result<(), JuteError> {
        self.serialize_bytes(v.as_bytes())
    }

    #[inline]
    fn serialize_bytes(mut self, v: &[u8]) -> Result<(), JuteError> {
        self.length(v.len())?;
        self.out.extend_from_slice(v);
        Ok(())
    }

    #[inline]
    fn serialize_none(self) -> Result<(), JuteError> {
        self.serialize_i32(-1)
    }

    #[inline]
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), JuteError> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), JuteError> {
        Ok(())
    }

    fn serialize_unit_struct(self, _name: &'static str) -> Result<(), JuteError> {
        Ok(())
    }

    #[inline]
    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> Result<(), JuteError> {
        value.serialize(self)
    }

    #[inline]
    fn serialize_seq(mut self, len: Option<usize>) -> Result<Fields<'a>, JuteError> {
        let count = len.ok_or_else(|| JuteError::Invalid("a vector of unknown length".into()))?;
        self.length(count)?;
        Ok(Fields { out: self.out })
    }

    #[inline]
    fn serialize_tuple(self, _len: usize) -> Result<Fields<'a>, JuteError> {
        Ok(Fields { out: self.out })
    }

    #[inline]
    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Fields<'a>, JuteError> {
        Ok(Fields { out: self.out })
    }

    #[inline]
    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Fields<'a>, JuteError> {
        Ok(Fields { out: self.out })
    }

    no_encode! {
        serialize_i16 i16 serialize_u8 u8 serialize_u16 u16 serialize_u32 u32 serialize_u64 u64
        serialize_f32 f32 serialize_f64 f64 serialize_char char
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, _: &'static str) -> Result<(), JuteError> {
        unsupported("enum")
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Result<(), JuteError> {
        unsupported("enum")
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleVariant, JuteError> {
        unsupported("enum")
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Self::SerializeMap, JuteError> {
        unsupported("map")
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeStructVariant, JuteError> {
        unsupported("enum")
    }

    fn is_human_readable(&self) -> bool {
        false
    }
}

/// The fields of a record, or the elements of a vector, in order.
struct Fields<'a> {
    out: &'a mut Vec<u8>,
}

macro_rules! in_order {
    ($($tr:path, $method:ident $(, $key:ty)?;)*) => {$(
        impl $tr for Fields<'_> {
            type Ok = ();
            type Error = JuteError;
            #[inline]
            fn $method<T: Serialize + ?Sized>(&mut self $(, _key: $key)?, value: &T) -> Result<(), JuteError> {
                value.serialize(Encoder { out: self.out })
            }
            #[inline]
            fn end(self) -> Result<(), JuteError> {
                Ok(())
            }
        }
    )*};
}

in_order! {
    ser::SerializeSeq, serialize_element;
    ser::SerializeTuple, serialize_element;
    ser::SerializeTupleStruct, serialize_field;
    ser::SerializeStruct, serialize_field, &'static str;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Sample<'a> {
        flag: bool,
        number: i32,
        long: i64,
        #[serde(borrow)]
        text: Text<'a>,
        #[serde(borrow)]
        data: Buffer<'a>,
        list: Vec<i32>,
        names: Option<Vec<Text<'a>>>,
    }

    fn sample() -> Sample<'static> {
        Sample {
            flag: true,
            number: -2,
            long: 3,
            text: "hé".into(),
            data: Buffer::new(b"xy"),
            list: vec![1, 2],
            names: Some(vec!["a".into(), Text(None)]),
        }
    }

    #[test]
    fn a_record_is_its_fields_in_order_and_comes_back() {
        let bytes = encoded(&sample());
        let expected: &[u8] = &[
            1, 0xff, 0xff, 0xff, 0xfe, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 3, b'h', 0xc3, 0xa9, 0, 0, 0, 2, b'x', b'y', 0,
            0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 1, b'a', 0xff, 0xff, 0xff, 0xff,
        ];
        assert_eq!(bytes, expected);
        assert_eq!(decode::<Sample<'_>>(&bytes), Ok(sample()));
    }

    #[test]
    fn every_prefix_of_a_record_is_an_error_and_no_panic() {
        let bytes = encoded(&sample());
        for end in 0..bytes.len() {
            assert!(decode::<Sample<'_>>(&bytes[..end]).is_err(), "prefix of {end} bytes was accepted");
        }
    }

    #[test]
    fn null_is_told_from_empty() {
        assert_eq!(decode::<Buffer<'_>>(&[0xff; 4]), Ok(Buffer(None)));
        assert_eq!(decode::<Buffer<'_>>(&[0; 4]), Ok(Buffer(Some(&[]))));
        assert_eq!(decode::<Text<'_>>(&[0xff; 4]), Ok(Text(None)));
        assert_eq!(decode::<Option<Vec<i32>>>(&[0xff; 4]), Ok(None));
        assert_eq!(decode::<Option<Vec<i32>>>(&[0; 4]), Ok(Some(vec![])));
        assert!(decode::<Vec<i32>>(&[0xff; 4]).is_err(), "a null vector where none is allowed");
    }

    #[test]
    fn claimed_lengths_are_refused_before_anything_is_allocated() {
        // 2 GiB claimed, four bytes there.
        let claim = |length: i32| {
            let mut bytes = length.to_be_bytes().to_vec();
            bytes.extend_from_slice(&[0; 4]);
            bytes
        };
        for length in [i32::MAX, i32::MIN, -2, 5] {
            assert!(decode::<Text<'_>>(&claim(length)).is_err(), "string of {length}");
            assert!(decode::<Buffer<'_>>(&claim(length)).is_err(), "buffer of {length}");
            assert_eq!(decode::<Vec<i64>>(&claim(length)).is_err(), length > 0, "vector of {length}");
        }
        assert_eq!(
            Decoder::with_limit(&claim(4), 3).read::<Buffer<'_>>(),
            Err(JuteError::BadLength { length: 4, limit: 3 })
        );
    }

    #[test]
    fn bytes_that_are_no_utf8_become_the_replacement_character() {
        assert_eq!(decode::<Text<'_>>(&[0, 0, 0, 1, 0xff]), Ok(Text::from("\u{fffd}".to_owned())));
    }
}
