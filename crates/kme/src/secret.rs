//! Secrets of any length, wiped when dropped.

use std::fmt;

use zeroize::Zeroizing;

macro_rules! byte_secrets {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        pub struct $name(Zeroizing<Vec<u8>>);

        impl $name {
            /// Takes over `bytes`.
            pub fn new(bytes: Vec<u8>) -> Self {
                Self(Zeroizing::new(bytes))
            }

            /// A copy of `bytes`; the caller wipes the original.
            pub fn from_slice(bytes: &[u8]) -> Self {
                Self::new(bytes.to_vec())
            }

            /// The bytes. Called only where they enter a primitive, a sealed place or an answer.
            pub fn expose(&self) -> &[u8] {
                &self.0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(redacted)"))
            }
        }

        // For messages between KMEs, which travel sealed.
        impl<C> minicbor::Encode<C> for $name {
            fn encode<W: minicbor::encode::Write>(
                &self,
                e: &mut minicbor::Encoder<W>,
                _: &mut C,
            ) -> Result<(), minicbor::encode::Error<W::Error>> {
                e.bytes(&self.0)?.ok()
            }
        }

        impl<'b, C> minicbor::Decode<'b, C> for $name {
            fn decode(d: &mut minicbor::Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
                d.bytes().map(Self::from_slice)
            }
        }
    )*};
}

byte_secrets! {
    /// Bits that two KMEs share and no key was cut from yet.
    RawBits;
    /// A key on its way to a SAE.
    KeyBytes;
}

impl RawBits {
    pub(crate) fn expose_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}
