//! One file format for every model: safetensors, with a typed JSON header under the metadata key `sizewise`.
//!
//! A file is either intact or refused: its header carries a BLAKE3 digest of itself and of every tensor, and nothing is
//! allocated for a size that the header claims before that is proven to lie within the file.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{Read, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

use kernels::{DType, Element};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::data::Provenance;
use crate::stored_weights::Form;
use crate::{Error, Result};

/// Version of the header; a reader refuses any other.
pub const SCHEMA: u32 = 1;
/// Key in the metadata of the safetensors file.
const KEY: &str = "sizewise";
/// Limit of the safetensors format.
const MAX_HEADER_BYTES: u64 = 100_000_000;
/// The header's length stands in the first eight bytes of the file.
const LENGTH_BYTES: usize = 8;
/// Stands for the digest while the digest is computed.
const NO_DIGEST: &str = "0000000000000000000000000000000000000000000000000000000000000000";

const _: () = assert!(cfg!(target_endian = "little"), "model files are little-endian and are read without conversion");

/// How text becomes the ids a model reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tokenizer {
    /// The 256 byte values.
    Bytes,
}

/// One thing done to a model to make it smaller, in the order they were done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CompressionStep {
    /// For example `int4` or `pruned-2:4`.
    pub method: String,
    /// What was chosen and what was measured.
    pub card: serde_json::Value,
}

/// What a model file says about itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// BLAKE3 of the header (with zeros here) and the tensors, as hex; filled in when a container is written or loaded.
    digest: String,
    /// [`SCHEMA`].
    schema: u32,
    /// Which model this is: `forest`, `gpt`, …
    pub family: String,
    /// The family's own settings.
    pub config: serde_json::Value,
    /// Names of the classes, in label order; empty for models that do not classify.
    pub labels: Vec<String>,
    /// How text becomes ids; none for models of tables.
    pub tokenizer: Option<Tokenizer>,
    /// What was done to make the model smaller.
    pub compression: Vec<CompressionStep>,
    /// Seed of the training run.
    pub seed: u64,
    /// What the model was fitted on.
    pub provenance: Option<Provenance>,
    /// How the tensors of [`Weights`](crate::weights::Weights) are stored, by name; empty for models that have none.
    #[serde(default)]
    pub forms: BTreeMap<String, Form>,
}

impl Header {
    /// A header of `family` with its settings; the other fields are empty.
    ///
    /// # Errors
    /// `Config` if `config` has no JSON form (a map whose keys are not texts).
    pub fn new(family: &str, config: &impl Serialize) -> Result<Self> {
        Ok(Self {
            digest: NO_DIGEST.into(),
            schema: SCHEMA,
            family: family.into(),
            config: serde_json::to_value(config).map_err(|error| Error::config("config", error.to_string()))?,
            labels: Vec::new(),
            tokenizer: None,
            compression: Vec::new(),
            seed: 0,
            provenance: None,
            forms: BTreeMap::new(),
        })
    }

    /// Identity of a written model; zeros before.
    pub fn digest(&self) -> &str {
        &self.digest
    }
}

/// A model as header and named tensors.
#[derive(Clone, Debug)]
pub struct Container {
    /// What the model is.
    pub header: Header,
    tensors: BTreeMap<String, Stored>,
    /// Holds the bytes of all tensors; after loading, the whole file.
    bytes: Vec<u8>,
    /// Where it was loaded from, for messages.
    path: PathBuf,
}

#[derive(Clone, Debug)]
struct Stored {
    dtype: DType,
    shape: Vec<usize>,
    range: Range<usize>,
}

impl Container {
    /// A container without tensors.
    pub fn new(header: Header) -> Self {
        Self { header, tensors: BTreeMap::new(), bytes: Vec::new(), path: PathBuf::new() }
    }

    /// Adds a tensor of `shape`, contiguous and row-major.
    ///
    /// # Errors
    /// `Config` if `values` are not as many as `shape` says or the name is taken.
    pub fn insert<T: Element>(&mut self, name: &str, shape: &[usize], values: &[T]) -> Result<()> {
        let elements = shape.iter().try_fold(1usize, |product, &size| product.checked_mul(size));
        if elements != Some(values.len()) {
            let what = format!("shape {shape:?} of `{name}` does not have {} elements", values.len());
            return Err(Error::config("tensor", what));
        }
        let start = self.bytes.len();
        self.bytes.extend_from_slice(bytemuck::cast_slice(values));
        let stored = Stored { dtype: T::DTYPE, shape: shape.to_vec(), range: start..self.bytes.len() };
        match self.tensors.insert(name.to_owned(), stored) {
            None => Ok(()),
            Some(_) => Err(Error::config("tensor", format!("`{name}` is there twice"))),
        }
    }

    /// Names of the tensors, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// Element type and shape of a tensor.
    ///
    /// # Errors
    /// `Format` if there is none of this name.
    pub fn info(&self, name: &str) -> Result<(DType, &[usize])> {
        self.stored(name).map(|stored| (stored.dtype, stored.shape.as_slice()))
    }

    /// Elements of a tensor, row-major.
    ///
    /// # Errors
    /// `Format` if there is none of this name, element type and shape; in `shape`, `None` stands for any size.
    pub fn values<T: Element>(&self, name: &str, shape: &[Option<usize>]) -> Result<Vec<T>> {
        let stored = self.stored(name)?;
        let matches = |(wanted, got): (&Option<usize>, &usize)| wanted.is_none_or(|wanted| wanted == *got);
        if stored.dtype != T::DTYPE {
            return Err(self.damage(name, format!("the elements are {}, expected {}", stored.dtype, T::DTYPE)));
        }
        if stored.shape.len() != shape.len() || !shape.iter().zip(&stored.shape).all(matches) {
            let wanted: Vec<String> = shape.iter().map(|size| size.map_or("any".into(), |size| size.to_string())).collect();
            return Err(self.damage(name, format!("the shape is {:?}, expected [{}]", stored.shape, wanted.join(", "))));
        }
        Ok(bytemuck::allocation::pod_collect_to_vec(&self.bytes[stored.range.clone()]))
    }

    /// The settings of the model, which must be of `family`.
    ///
    /// # Errors
    /// `Format` if it is of another family or its settings are not a `C`.
    pub fn config<C: DeserializeOwned>(&self, family: &str) -> Result<C> {
        if self.header.family != family {
            return Err(self.damage("family", format!("this is a model of family {}, expected {family}", self.header.family)));
        }
        C::deserialize(&self.header.config).map_err(|error| self.damage("config", error.to_string()))
    }

    /// The error for a model whose `field` (a header field or a tensor) does not make sense to its family.
    pub fn damage(&self, field: &str, what: impl Into<String>) -> Error {
        let offset = self.tensors.get(field).filter(|_| !self.path.as_os_str().is_empty());
        Error::format(&self.path, field, offset.map(|stored| stored.range.start as u64), what)
    }

    fn stored(&self, name: &str) -> Result<&Stored> {
        self.tensors.get(name).ok_or_else(|| self.damage(name, "there is no such tensor"))
    }

    /// Bytes the file takes, header included.
    ///
    /// # Errors
    /// As [`Container::to_bytes`].
    pub fn file_bytes(&self) -> Result<u64> {
        Ok(self.to_bytes()?.len() as u64)
    }

    /// The file's content; the same for the same model on every machine.
    ///
    /// # Errors
    /// `Config` if the header exceeds what the format allows (100 MB).
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let refused = |error: &dyn std::fmt::Display| Error::config("container", error.to_string());
        let header = Header { digest: NO_DIGEST.into(), ..self.header.clone() };
        let text = serde_json::to_string(&header).map_err(|error| refused(&error))?;
        let sealed = text.replacen(NO_DIGEST, &self.digest(&text), 1);
        let view = |stored: &Stored| {
            let bytes = &self.bytes[stored.range.clone()];
            TensorView::new(to_safetensors(stored.dtype), stored.shape.clone(), bytes).map_err(|error| refused(&error))
        };
        let views = self.tensors.iter().map(|(name, stored)| Ok((name, view(stored)?))).collect::<Result<Vec<_>>>()?;
        safetensors::serialize(views, Some(HashMap::from([(KEY.to_owned(), sealed)]))).map_err(|error| refused(&error))
    }

    /// Writes the file: under a temporary name beside it, synced, then renamed, so that `path` holds the old file or the new
    /// one and never a part.
    ///
    /// # Errors
    /// `Io`, and as [`Container::to_bytes`].
    pub fn save(&self, path: &Path) -> Result<()> {
        let bytes = self.to_bytes()?;
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut file = tempfile::NamedTempFile::new_in(directory).map_err(Error::io(directory))?;
        file.write_all(&bytes).map_err(Error::io(path))?;
        file.as_file().sync_all().map_err(Error::io(path))?;
        file.persist(path).map_err(|error| Error::Io { path: path.into(), source: error.error })?;
        // The rename is durable once the directory is; not every system lets a directory be opened.
        if cfg!(unix) {
            File::open(directory).and_then(|directory| directory.sync_all()).map_err(Error::io(directory))?;
        }
        Ok(())
    }

    /// Reads a file.
    ///
    /// # Errors
    /// `Io`, or `Format` with field and offset for anything but an intact model file.
    pub fn load(path: &Path) -> Result<Self> {
        let mut file = File::open(path).map_err(Error::io(path))?;
        let file_bytes = file.metadata().map_err(Error::io(path))?.len();
        let mut length = [0; LENGTH_BYTES];
        if file_bytes < LENGTH_BYTES as u64 {
            return Err(Error::format(path, "header length", Some(0), format!("the file has {file_bytes} bytes")));
        }
        file.read_exact(&mut length).map_err(Error::io(path))?;
        let header_bytes = u64::from_le_bytes(length);
        if header_bytes > MAX_HEADER_BYTES || header_bytes > file_bytes - LENGTH_BYTES as u64 {
            let what = format!("{header_bytes} bytes of header, in a file of {file_bytes} bytes and at most {MAX_HEADER_BYTES}");
            return Err(Error::format(path, "header length", Some(0), what));
        }
        let mut bytes = Vec::new();
        let room = usize::try_from(file_bytes).ok().filter(|&file_bytes| bytes.try_reserve_exact(file_bytes).is_ok());
        if room.is_none() {
            let source = std::io::Error::new(std::io::ErrorKind::OutOfMemory, format!("{file_bytes} bytes do not fit in memory"));
            return Err(Error::Io { path: path.into(), source });
        }
        bytes.extend_from_slice(&length);
        // A file that grows while it is read would otherwise take more than was reserved.
        file.take(file_bytes - LENGTH_BYTES as u64).read_to_end(&mut bytes).map_err(Error::io(path))?;
        Self::from_bytes(path, bytes)
    }

    /// Reads the content of a file; `path` is for messages only.
    ///
    /// # Errors
    /// `Format` with field and offset for anything but an intact model file.
    pub fn from_bytes(path: &Path, bytes: Vec<u8>) -> Result<Self> {
        let after_length = Some(LENGTH_BYTES as u64);
        let foreign = |error: &dyn std::fmt::Display| Error::format(path, "header", after_length, error.to_string());
        let (header_bytes, metadata) = SafeTensors::read_metadata(&bytes).map_err(|error| foreign(&error))?;
        let text = metadata.metadata().as_ref().and_then(|entries| entries.get(KEY));
        let text = text.ok_or_else(|| foreign(&"this safetensors file is no sizewise model: it has no `sizewise` metadata"))?;
        #[derive(Deserialize)]
        struct Version {
            schema: u32,
        }
        let Version { schema } = serde_json::from_str(text).map_err(|error| foreign(&error))?;
        if schema != SCHEMA {
            let what = format!("written in version {schema} of the format, this program reads version {SCHEMA}");
            return Err(Error::format(path, "schema", after_length, what));
        }
        let header: Header = serde_json::from_str(text).map_err(|error| foreign(&error))?;

        let data_start = LENGTH_BYTES + header_bytes;
        let mut tensors = BTreeMap::new();
        for (name, info) in metadata.tensors() {
            let (start, end) = info.data_offsets;
            let range = data_start + start..data_start + end;
            let dtype = from_safetensors(info.dtype).ok_or_else(|| {
                let what = format!("elements of type {} are not in use here", info.dtype);
                Error::format(path, &name, Some(range.start as u64), what)
            })?;
            tensors.insert(name, Stored { dtype, shape: info.shape.clone(), range });
        }
        let unsealed = text.replacen(&header.digest, NO_DIGEST, 1);
        let container = Self { header, tensors, bytes, path: path.into() };
        if container.digest(&unsealed) != container.header.digest {
            return Err(container.damage("digest", "the content does not match it: the file is damaged"));
        }
        Ok(container)
    }

    /// BLAKE3 of the header's text with [`NO_DIGEST`] and of every tensor by name.
    fn digest(&self, header: &str) -> String {
        let mut hasher = blake3::Hasher::new();
        let mut sized = |bytes: &[u8]| {
            hasher.update(&(bytes.len() as u64).to_le_bytes()).update(bytes);
        };
        sized(header.as_bytes());
        for (name, stored) in &self.tensors {
            sized(name.as_bytes());
            sized(stored.dtype.name().as_bytes());
            let shape: Vec<u64> = stored.shape.iter().map(|&size| size as u64).collect();
            sized(bytemuck::cast_slice(&shape));
            sized(&self.bytes[stored.range.clone()]);
        }
        hasher.finalize().to_hex().to_string()
    }
}

fn to_safetensors(dtype: DType) -> Dtype {
    match dtype {
        DType::F32 => Dtype::F32,
        DType::Bf16 => Dtype::BF16,
        DType::F16 => Dtype::F16,
        DType::I8 => Dtype::I8,
        DType::U8 => Dtype::U8,
        DType::I32 => Dtype::I32,
        DType::U32 => Dtype::U32,
    }
}

fn from_safetensors(dtype: Dtype) -> Option<DType> {
    DType::ALL.into_iter().find(|&ours| to_safetensors(ours) == dtype)
}
