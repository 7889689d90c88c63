//! Weights most of whose values are zero and not stored.

use super::{Values, expect_len};
use crate::{DType, Error, Result};

/// Where the stored values of a sparse weight `[N, K]` lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pattern {
    /// Compressed rows: row n holds values `row_ptr[n]..row_ptr[n+1]`, in columns `col` that rise strictly within a row.
    Csr {
        /// N + 1 offsets into `col` and the values.
        row_ptr: Vec<u32>,
        /// Column of each value.
        col: Vec<u32>,
    },
    /// Dense blocks of `rows × cols`, each stored row-major `[rows, cols]`; block row i holds blocks `row_ptr[i]..row_ptr[i+1]`
    /// at block columns `col`, rising strictly. Blocks at the right and bottom edge reach beyond the matrix with ignored values.
    Block {
        /// Rows of a block (16 suits AVX-512: 16 outputs share one input).
        rows: usize,
        /// Columns of a block.
        cols: usize,
        /// ceil(N / rows) + 1 offsets, counted in blocks.
        row_ptr: Vec<u32>,
        /// Block column of each block.
        col: Vec<u32>,
    },
    /// Two of every four: of inputs 4g..4g+4 the values at two distinct, rising places are stored, `[N, ceil(K/4), 2]`.
    TwoOfFour {
        /// `[N, ceil(K/4)]`: first place in bits 0–1, second in bits 2–3.
        places: Vec<u8>,
    },
}

/// What a sparse weight stores at its places.
#[derive(Clone, Debug, PartialEq)]
pub enum SparseValues {
    /// The values as they are.
    Float(Values),
    /// Codes of 8 bits, symmetric: `w = scale[n] · code`, with one scale per row of the weight.
    Int8 {
        /// As many as there are places.
        codes: Vec<i8>,
        /// `[N]`.
        scales: Vec<f32>,
    },
}

impl From<Values> for SparseValues {
    fn from(values: Values) -> Self {
        SparseValues::Float(values)
    }
}

impl SparseValues {
    /// Number of stored values.
    pub fn len(&self) -> usize {
        match self {
            SparseValues::Float(values) => values.len(),
            SparseValues::Int8 { codes, .. } => codes.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Type of a stored value: a float, or `I8`.
    pub fn dtype(&self) -> DType {
        match self {
            SparseValues::Float(values) => values.dtype(),
            SparseValues::Int8 { .. } => DType::I8,
        }
    }

    /// The stored values as bytes, native endian, without scales.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            SparseValues::Float(values) => values.as_bytes(),
            SparseValues::Int8 { codes, .. } => bytemuck::cast_slice(codes),
        }
    }

    /// One scale per row, if values are codes.
    pub fn scales(&self) -> Option<&[f32]> {
        match self {
            SparseValues::Float(_) => None,
            SparseValues::Int8 { scales, .. } => Some(scales),
        }
    }

    /// Bytes of values and scales.
    pub fn size_bytes(&self) -> usize {
        self.as_bytes().len() + self.scales().map_or(0, size_of_val)
    }
}

/// A sparse weight `[N, K]`. A pattern from a file is safe to compute with once this type exists.
#[derive(Clone, Debug, PartialEq)]
pub struct Sparse {
    n: usize,
    k: usize,
    pattern: Pattern,
    values: SparseValues,
}

fn bad<T>(arg: &'static str, wanted: &'static str, got: impl ToString) -> Result<T> {
    Err(Error::Value { op: "weight", arg, wanted, got: got.to_string() })
}

fn check_rows(row_ptr: &[u32], col: &[u32], rows: usize, cols: usize) -> Result<()> {
    expect_len("row_ptr", row_ptr.len(), rows.checked_add(1))?;
    if row_ptr[0] != 0 || row_ptr[rows] as usize != col.len() {
        return bad("row_ptr", "from 0 to the number of stored entries", format!("{}..{}", row_ptr[0], row_ptr[rows]));
    }
    for (row, span) in row_ptr.windows(2).enumerate() {
        let entries = (span[0] <= span[1]).then(|| col.get(span[0] as usize..span[1] as usize)).flatten();
        let Some(entries) = entries else {
            return bad("row_ptr", "rising", format!("{}..{} in row {row}", span[0], span[1]));
        };
        if !entries.windows(2).all(|pair| pair[0] < pair[1]) {
            return bad("col", "strictly rising within a row", format!("row {row} out of order"));
        }
        if let Some(&last) = entries.last().filter(|&&last| last as usize >= cols) {
            return bad("col", "below the number of columns", format!("{last} in row {row}"));
        }
    }
    Ok(())
}

impl Sparse {
    /// A sparse weight from its parts.
    ///
    /// # Errors
    /// `Value` if offsets, places or lengths contradict each other or the shape, or a scale is not finite.
    pub fn new(n: usize, k: usize, pattern: Pattern, values: impl Into<SparseValues>) -> Result<Self> {
        let values = values.into();
        let stored = match &pattern {
            Pattern::Csr { row_ptr, col } => {
                check_rows(row_ptr, col, n, k)?;
                Some(col.len())
            }
            Pattern::Block { rows, cols, row_ptr, col } => {
                if *rows == 0 || *cols == 0 {
                    return bad("block", "at least 1 × 1", format!("{rows} × {cols}"));
                }
                check_rows(row_ptr, col, n.div_ceil(*rows), k.div_ceil(*cols))?;
                rows.checked_mul(*cols).and_then(|block| block.checked_mul(col.len()))
            }
            Pattern::TwoOfFour { places } => {
                expect_len("places", places.len(), n.checked_mul(k.div_ceil(4)))?;
                if let Some(at) = places.iter().position(|p| p & 3 >= p >> 2 || p >> 4 != 0) {
                    return bad("places", "two distinct, rising places below 4", format!("{:#06b} at {at}", places[at]));
                }
                places.len().checked_mul(2)
            }
        };
        expect_len("values", values.len(), stored)?;
        if let Some(scales) = values.scales() {
            expect_len("scales", scales.len(), Some(n))?;
            if let Some(at) = scales.iter().position(|scale| !scale.is_finite()) {
                return bad("scales", "finite", format!("{} at {at}", scales[at]));
            }
        }
        Ok(Sparse { n, k, pattern, values })
    }

    /// Rows: out_features.
    pub fn n(&self) -> usize {
        self.n
    }
    /// Columns: in_features.
    pub fn k(&self) -> usize {
        self.k
    }
    /// Where the values lie.
    pub fn pattern(&self) -> &Pattern {
        &self.pattern
    }
    /// The stored values.
    pub fn values(&self) -> &SparseValues {
        &self.values
    }
    /// What value `at` of row `n` stands for, rounded once; 0 beyond the end.
    pub fn value(&self, n: usize, at: usize) -> f32 {
        match &self.values {
            SparseValues::Float(values) => values.get_f32(at),
            SparseValues::Int8 { codes, scales } => match (codes.get(at), scales.get(n)) {
                (Some(&code), Some(scale)) => scale * f32::from(code),
                _ => 0.0,
            },
        }
    }

    /// Format as reports print it.
    pub fn format(&self) -> String {
        let dtype = match self.values.dtype() {
            DType::I8 => "int8",
            float => float.name(),
        };
        match &self.pattern {
            Pattern::Csr { .. } => format!("csr-{dtype}"),
            Pattern::Block { rows, cols, .. } => format!("block{rows}x{cols}-{dtype}"),
            Pattern::TwoOfFour { .. } => format!("2:4-{dtype}"),
        }
    }

    /// Bytes of values and places.
    pub fn stored_bytes(&self) -> usize {
        self.values.size_bytes()
            + match &self.pattern {
                Pattern::Csr { row_ptr, col } | Pattern::Block { row_ptr, col, .. } => 4 * (row_ptr.len() + col.len()),
                Pattern::TwoOfFour { places } => places.len(),
            }
    }

    /// Calls `entry(n, k, index of the value)` for every stored value inside the matrix, row by row within a block row.
    pub fn for_each(&self, mut entry: impl FnMut(usize, usize, usize)) {
        match &self.pattern {
            Pattern::Csr { row_ptr, col } => {
                for (n, span) in row_ptr.windows(2).enumerate() {
                    let (first, end) = (span[0] as usize, span[1] as usize);
                    col[first..end].iter().zip(first..).for_each(|(&k, at)| entry(n, k as usize, at));
                }
            }
            Pattern::Block { rows, cols, row_ptr, col } => {
                for (block_row, span) in row_ptr.windows(2).enumerate() {
                    let (first, end) = (span[0] as usize, span[1] as usize);
                    for (&block_col, block) in col[first..end].iter().zip(first..) {
                        for i in 0..rows * cols {
                            let (n, k) = (block_row * rows + i / cols, block_col as usize * cols + i % cols);
                            if n < self.n && k < self.k {
                                entry(n, k, block * rows * cols + i);
                            }
                        }
                    }
                }
            }
            Pattern::TwoOfFour { places } => {
                let groups = self.k.div_ceil(4);
                for (at, &place) in places.iter().enumerate() {
                    let (n, g) = (at / groups, at % groups);
                    for (which, offset) in [place & 3, place >> 2].into_iter().enumerate() {
                        let k = 4 * g + offset as usize;
                        if k < self.k {
                            entry(n, k, 2 * at + which);
                        }
                    }
                }
            }
        }
    }

    /// How many stored values are not zero.
    pub fn nonzeros(&self) -> usize {
        match &self.values {
            SparseValues::Float(values) => values.nonzeros(),
            SparseValues::Int8 { .. } => {
                let mut count = 0;
                self.for_each(|n, _, at| count += usize::from(self.value(n, at) != 0.0));
                count
            }
        }
    }

    /// The matrix it stands for, row-major `[N, K]`; each value rounded once.
    pub fn to_f32(&self) -> Vec<f32> {
        let mut dense = vec![0.0; self.n * self.k];
        self.for_each(|n, k, at| dense[n * self.k + k] = self.value(n, at));
        dense
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contradicting_patterns_are_refused() {
        let csr = |row_ptr: &[u32], col: &[u32], count| {
            let pattern = Pattern::Csr { row_ptr: row_ptr.to_vec(), col: col.to_vec() };
            Sparse::new(2, 3, pattern, Values::F32(vec![1.0; count]))
        };
        assert!(csr(&[0, 1, 2], &[2, 0], 2).is_ok());
        assert!(csr(&[0, 1, 2], &[3, 0], 2).is_err()); // column beyond K
        assert!(csr(&[0, 3, 2], &[0, 1], 2).is_err()); // falling
        assert!(csr(&[0, 2, 2], &[1, 1], 2).is_err()); // twice the same column
        assert!(csr(&[0, 1], &[0], 1).is_err()); // a row missing
        assert!(csr(&[1, 1, 2], &[0, 1], 2).is_err()); // does not start at 0
        assert!(csr(&[0, 1, 2], &[0, 1], 3).is_err()); // a value too many
        let codes = |codes: usize, scales: &[f32]| {
            let pattern = Pattern::Csr { row_ptr: vec![0, 1, 2], col: vec![0, 2] };
            Sparse::new(2, 3, pattern, SparseValues::Int8 { codes: vec![1; codes], scales: scales.to_vec() })
        };
        assert!(codes(2, &[1.0, 0.5]).is_ok());
        assert!(codes(1, &[1.0, 0.5]).is_err());
        assert!(codes(2, &[1.0]).is_err()); // a scale missing
        assert!(codes(2, &[1.0, f32::NAN]).is_err());
        let places = |p| Sparse::new(1, 4, Pattern::TwoOfFour { places: vec![p] }, Values::F32(vec![1.0; 2]));
        assert!(places(0b0100).is_ok());
        assert!(places(0b0101).is_err());
        assert!(places(0b0001).is_err());
    }

    #[test]
    fn edge_blocks_ignore_what_lies_outside() {
        let pattern = Pattern::Block { rows: 2, cols: 2, row_ptr: vec![0, 1, 2], col: vec![1, 0] };
        let values = Values::F32((1..=8).map(|v| v as f32).collect());
        let sparse = Sparse::new(3, 3, pattern, values).unwrap();
        assert_eq!(sparse.to_f32(), [0.0, 0.0, 1.0, 0.0, 0.0, 3.0, 5.0, 6.0, 0.0]);
    }

    #[test]
    fn codes_are_scaled_by_their_row() {
        let pattern = Pattern::Csr { row_ptr: vec![0, 2, 3], col: vec![0, 2, 1] };
        let values = SparseValues::Int8 { codes: vec![127, -128, 0], scales: vec![0.5, 2.0] };
        let sparse = Sparse::new(2, 3, pattern, values).unwrap();
        assert_eq!(sparse.to_f32(), [63.5, 0.0, -64.0, 0.0, 0.0, 0.0]);
        assert_eq!((sparse.format().as_str(), sparse.nonzeros()), ("csr-int8", 2));
        assert_eq!(sparse.stored_bytes(), 3 + 2 * 4 + 4 * (3 + 3));
    }
}
