/* Parameters of the kernels, one struct per kernel, passed by value. Read by both sides: `cargo xtask bindgen` writes `params.rs` from
   it. No struct has padding. Addresses are of the first element; 0 where there is no operand. Strides are in elements. */
#ifndef SIZEWISE_PARAMS
#define SIZEWISE_PARAMS

typedef unsigned long long Address;
typedef unsigned long long Stride;

/** Elements of up to four operands of one shape, walked together: dimension 0 is the fastest. */
typedef struct {
    Address first[4];
    /** Of dimension d and operand k at [d][k]. */
    Stride strides[6][4];
    unsigned dims[6];
    unsigned rank;
    unsigned count;
    /** Whether four neighbours of every operand can be moved at once, as in `lattice.cuh`. */
    unsigned dense;
    unsigned unused;
} Lattice;

/** Where kernels tell of an index out of range: host memory that the device writes. */
typedef struct {
    /** 0, or the op's code and that a kernel is writing (1) or has written (2): 256 * op + 1 or 2. */
    unsigned state;
    unsigned got;
    Stride at;
    Stride limit;
} Report;

typedef struct {
    Lattice lattice;
    /** Code of the function. */
    unsigned function;
    unsigned unused;
    float scale;
    float shift;
} ElementwiseParams;

typedef struct {
    Lattice lattice;
    /** The element's bits, in the lowest bytes. */
    unsigned bits;
    unsigned unused;
} FillParams;

typedef struct {
    /** Rows: operands are the op's in the order of its fields. */
    Lattice rows;
    unsigned width;
    float eps;
} RowsParams;

typedef struct {
    Lattice lattice;
    /** Low and high word. */
    unsigned seed[2];
    unsigned stream[2];
    float term;
    float factor;
    unsigned normal;
    unsigned unused;
} RandomParams;

typedef struct {
    Lattice lattice;
    float lr;
    float momentum;
    float l2;
    float l1;
    unsigned nesterov;
    unsigned unused;
} SgdParams;

typedef struct {
    Lattice lattice;
    float lr;
    float beta1;
    /** 1 - beta1. */
    float rest1;
    float beta2;
    float rest2;
    float eps;
    float correction;
    float weight_decay;
    float l1;
    unsigned unused;
} AdamWParams;

typedef struct {
    /** The outputs: operands are x, at the start of the dimension, and out. */
    Lattice outputs;
    /** Of the dimension. */
    Stride step;
    /** [chunks, outputs] in f32, or 0 where the one chunk's result is the output. */
    Address partial;
    unsigned length;
    unsigned chunk;
    unsigned chunks;
    unsigned function;
    /** Terms of a mean, and whether it is one. */
    unsigned terms;
    unsigned mean;
} ReduceParams;

typedef struct {
    Lattice rows;
    Address weight;
    Address bias;
    Stride weight_step;
    Stride bias_step;
    unsigned width;
    float eps;
} NormParams;

typedef struct {
    Lattice rows;
    Lattice stats;
    Address weight;
    Address dweight;
    Address dbias;
    Stride weight_step;
    Stride dweight_step;
    Stride dbias_step;
    /** [chunks, 2, width] in f32. */
    Address partial;
    unsigned width;
    /** Rows of a chunk. */
    unsigned chunk;
    unsigned chunks;
    unsigned unused;
} NormBackwardParams;

typedef struct {
    Lattice lattice;
    Address sums;
    Address norm;
    unsigned to;
    unsigned blocks;
    float max_norm;
    unsigned unused;
} ClipNormParams;

/* Gather, scatter_add */

typedef struct {
    Address table;
    Address index;
    Address out;
    Address report;
    Stride table_row;
    Stride index_step;
    Stride out_row;
    /** Rows of out. */
    unsigned rows;
    unsigned width;
    /** Rows of the table. */
    unsigned limit;
    unsigned unused;
} GatherParams;

typedef struct {
    Address index;
    Address x;
    Address out;
    Address report;
    /** Of each row of out: how many rows of x go there, and the end of its part of `list`. */
    Address counts;
    Address ends;
    /** Rows of out that take any, in no order. */
    Address used;
    /** Rows of x by the row of out they go to, within that in no order. */
    Address list;
    /** Length of `list`, and of `used`. */
    Address totals;
    Stride index_step;
    Stride x_row;
    Stride out_row;
    /** Rows of x. */
    unsigned rows;
    unsigned width;
    /** Rows of out. */
    unsigned limit;
    /** Blocks of a row of out. */
    unsigned column_blocks;
} ScatterAddParams;

/* Cross entropy */

typedef struct {
    Address logits;
    Address target;
    Address loss;
    Address lse;
    Address report;
    Stride logits_row;
    Stride target_row;
    Stride loss_step;
    Stride lse_step;
    unsigned rows;
    unsigned width;
    /** Whether the target is a class per row, or a distribution. */
    unsigned classes;
    float scale;
} CrossEntropyParams;

typedef struct {
    Address logits;
    Address target;
    Address lse;
    Address dloss;
    Address dlogits;
    Address report;
    Stride logits_row;
    Stride target_row;
    Stride lse_step;
    Stride dloss_step;
    Stride dlogits_row;
    unsigned rows;
    unsigned width;
    unsigned classes;
    float scale;
} CrossEntropyBackwardParams;

/* Rope */

typedef struct {
    /** [B, T]: x, out. */
    Lattice rows;
    /** [D / 2], in units of 2^-64 turns. */
    Address frequencies;
    Stride x_head;
    Stride out_head;
    /** T. */
    unsigned steps;
    unsigned heads;
    /** D / 2. */
    unsigned half;
    /** Of the first row. */
    unsigned position;
    unsigned interleaved;
    unsigned backward;
} RopeParams;


/* Products: matmul and linear. */

/** out[i, j] from the sums over l of left[i, l] * right[j, l], batched over up to four leading dimensions. */
typedef struct {
    Address left;
    Address right;
    Address out;
    /** Of a linear layer: one element for each row of `left`. */
    Address bias;
    Stride left_row;
    Stride left_step;
    Stride right_row;
    Stride right_step;
    Stride out_row;
    Stride out_column;
    Stride bias_step;
    Stride left_lead[4];
    Stride right_lead[4];
    Stride out_lead[4];
    unsigned lead[4];
    unsigned rows;
    unsigned columns;
    unsigned k;
    /** Terms that are summed on their own, where K is cut into parts. */
    unsigned part;
    /** How factors are staged and results stored, as in `product.cuh`. */
    unsigned left_way;
    unsigned right_way;
    unsigned out_way;
    /** Whether `out` is f32 whatever the factors are. */
    unsigned wide;
    float alpha;
    float beta;
    unsigned activation;
    unsigned unused;
} ProductParams;

/** Factors as the unit that copies boxes is told of them, by the driver. */
typedef struct {
    unsigned long long left[16];
    unsigned long long right[16];
    ProductParams product;
    Stride unused;
} HopperParams;

/** Bytes of a factor of K lines, `rows` of them in each, to rows of K. */
typedef struct {
    Address from;
    Address to;
    Stride from_line;
    Stride to_row;
    unsigned rows;
    unsigned k;
} TurnParams;


/* Attention */

/** First element of an operand [B, T, H, D] (`lse`: [B, H, T]), and its strides. */
typedef struct {
    Address first;
    Stride batch;
    Stride row;
    Stride head;
} AttentionPlace;

typedef struct {
    AttentionPlace q;
    AttentionPlace k;
    AttentionPlace v;
    AttentionPlace out;
    AttentionPlace lse;
    AttentionPlace dout;
    AttentionPlace dq;
    AttentionPlace dk;
    AttentionPlace dv;
    Address lengths;
    Stride lengths_step;
    /** Forward: of each split of the keys, sums over values [B, KvH, rows, splits, D], and behind them all [B, KvH, rows, splits, 2],
        greatest score in bits and sum of weights. Backward: [B, KvH, rows], the delta of each row. */
    Address parts;
    unsigned batch;
    unsigned seq_q;
    unsigned seq_k;
    unsigned kv_heads;
    /** Query heads of a head of keys. */
    unsigned group;
    /** seq_q * group: the queries of a group are rows of one problem, row t * group + h. */
    unsigned rows;
    unsigned head_dim;
    /** Blocks for the columns of a sum. */
    unsigned slices;
    /** Blocks for the rows (or keys) of a problem. */
    unsigned tiles;
    /** Of the keys: 1 where no part has to be joined. */
    unsigned splits;
    unsigned causal;
    /** Whether inputs, and outputs, are aligned to 16 bytes in every row. */
    unsigned whole;
    unsigned whole_out;
    float scale;
} AttentionParams;


/** A linear layer over a packed weight of integer codes: out[i, j] over x[i, l] and w[j, l], laid out as `coded.cuh` says. */
typedef struct {
    Address codes;
    /** Bits beyond the fourth. */
    Address high;
    Address scales;
    /** Zero points, or factors of scales. */
    Address zeros;
    Address x;
    /** Of each row of x, where it is of integers. */
    Address x_scale;
    Address bias;
    Address out;
    Stride x_row;
    Stride x_scale_step;
    Stride bias_step;
    Stride out_row;
    /** M, N and K. */
    unsigned rows;
    unsigned columns;
    unsigned k;
    unsigned form;
    unsigned group_size;
    unsigned groups;
    unsigned part;
    unsigned x_way;
    unsigned activation;
    unsigned unused;
} CodedParams;

/** A linear layer over a packed sparse weight: which places are stored, and their values. */
typedef struct {
    Address row_starts;
    /** Columns, of blocks or of values. */
    Address places;
    /** Of 2:4 weights, records of values and places. */
    Address values;
    /** Of each row, in f32, where the values are codes of 8 bits. */
    Address scales;
    Address x;
    Address bias;
    Address out;
    Stride x_row;
    Stride bias_step;
    Stride out_row;
    /** M, N and K. */
    unsigned rows;
    unsigned columns;
    unsigned k;
    unsigned form;
    unsigned block_rows;
    unsigned block_columns;
    unsigned activation;
    unsigned unused;
} SparseParams;

/** A linear layer in f32: x is `left`, a dense weight is `right`, one of integer codes is `coded`. */
typedef struct {
    ProductParams product;
    CodedParams coded;
} LinearParams;

/* Forest */

typedef struct {
    Address x;
    Address roots;
    /** [N, 3]: bits of the threshold, feature, to. */
    Address nodes;
    Address leaves;
    Address out;
    Address report;
    Stride x_row;
    Stride roots_step;
    Stride nodes_row;
    Stride leaves_row;
    Stride out_row;
    unsigned features;
    unsigned trees;
    unsigned node_count;
    unsigned leaf_count;
    unsigned classes;
    float scale;
} ForestParams;

/* 2:4 weights on tensor cores */

/** The weight's records are `left`, x is `right`. */
typedef struct {
    ProductParams product;
    /** Of each row of the weight, in f32, where its values are codes of 8 bits. */
    Address scales;
} TwoOfFourParams;

#endif
