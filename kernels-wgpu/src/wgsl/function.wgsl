// Codes of functions of one element.

const NEG = 0u;
const ABSOLUTE = 1u;
const SQUARE = 2u;
const SQRT = 3u;
const RSQRT = 4u;
const RECIP = 5u;
const EXP = 6u;
const LOG = 7u;
const TANH = 8u;
const SIGMOID = 9u;
const RECTIFIED = 10u;
const GELU_TANH = 11u;
const GELU_NORMAL = 12u;
const SILU_GATED = 13u;
