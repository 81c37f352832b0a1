//! Maps as arrays of `[key, value]` in the order of the keys.
//!
//! RFC 8949 orders map keys by their encoded bytes, which for names is not the order of a
//! `BTreeMap`; an array has the one order it is written in.

use std::collections::BTreeMap;

use minicbor::{Decode, Decoder, Encode, Encoder, encode::Write};

pub(crate) fn encode<C, W, K, V>(
    map: &BTreeMap<K, V>,
    e: &mut Encoder<W>,
    ctx: &mut C,
) -> Result<(), minicbor::encode::Error<W::Error>>
where
    W: Write,
    K: Encode<C>,
    V: Encode<C>,
{
    e.array(map.len() as u64)?;
    for (key, value) in map {
        e.array(2)?;
        key.encode(e, ctx)?;
        value.encode(e, ctx)?;
    }
    Ok(())
}

pub(crate) fn decode<'b, C, K, V>(d: &mut Decoder<'b>, ctx: &mut C) -> Result<BTreeMap<K, V>, minicbor::decode::Error>
where
    K: Decode<'b, C> + Ord,
    V: Decode<'b, C>,
{
    let len = d.array()?.ok_or_else(|| minicbor::decode::Error::message("a table has a definite length"))?;
    let mut map = BTreeMap::new();
    for _ in 0..len {
        if d.array()? != Some(2) {
            return Err(minicbor::decode::Error::message("a table's row is an array of 2 items"));
        }
        let key = K::decode(d, ctx)?;
        let value = V::decode(d, ctx)?;
        // Order and duplicates show when the whole is encoded again and compared.
        map.insert(key, value);
    }
    Ok(map)
}
