// What every kernel of products agrees on. Sums of CHUNK terms are chains in rising order and are added in rising order, so that neither
// tiles nor the number of rows change a bit, and a row may be spread over invocations.
//
// The op's own piece defines, with 0 outside of the factors:
//   left_four(row, p), right_four(column, p)       four neighbours along p, the direction of summation; p is a multiple of 4
//   left_rows(row, p), right_columns(column, p)    four neighbours across
//   left_along_p(), right_along_p()                which of the two a factor is read by
//   finish(row, column, sum)                       what becomes of a sum; outside of the result, nothing

const CHUNK = 64u;
