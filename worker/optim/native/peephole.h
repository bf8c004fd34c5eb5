/* The peephole LSTM layer's three passes through time, for one type and one instruction set.

   Included with REAL (the type), INTEGER (as wide), BYTES (of a vector register), ROWS (rows of a product that are summed
   at once), TARGET (the instruction set) and NAME(x) defined. T steps, I inputs, H units, N examples, K stacked vectors.
   Array layouts: sequences are time-first with the examples last (T x features x N); gates are in the order i, f, g, o.
   Alignment: `stored` to BYTES, which torch's storages have (64); every other array only to REAL (Loose).
   A chunk of WIDTH examples passes all steps, so that its state stays in the first cache. Lanes past the last example hold
   zeros and are not written. Formulas: worker/optim/lstm.py, worker/optim/curvature/rules/recurrent.py. */

typedef REAL NAME(Vec) __attribute__((vector_size(BYTES)));
typedef REAL NAME(Loose) __attribute__((vector_size(BYTES), aligned(sizeof(REAL)), may_alias));
typedef INTEGER NAME(Bits) __attribute__((vector_size(BYTES)));
#define Vec NAME(Vec)
#define Loose NAME(Loose)
#define Bits NAME(Bits)
#define LANES ((int64_t)(BYTES / sizeof(REAL)))
#define WIDTH (2 * LANES)
#define FN static inline __attribute__((always_inline)) TARGET

/* Read a row of a chunk; lanes from `count` on become zero. */
FN void NAME(load)(Vec *to, const REAL *from, int64_t count) {
    if (count == WIDTH) {
        to[0] = *(const Loose *)from;
        to[1] = *(const Loose *)(from + LANES);
    } else {
        REAL *lanes = (REAL *)to;
        for (int64_t j = 0; j < WIDTH; j++) lanes[j] = j < count ? from[j] : 0;
    }
}

FN void NAME(store)(REAL *to, const Vec *from, int64_t count) {
    if (count == WIDTH) {
        *(Loose *)to = from[0];
        *(Loose *)(to + LANES) = from[1];
    } else {
        const REAL *lanes = (const REAL *)from;
        for (int64_t j = 0; j < count; j++) to[j] = lanes[j];
    }
}

/* Bring a matrix (rows x columns, any strides) into panels of ROWS rows, column by column; missing rows are zero. */
static void NAME(pack)(REAL *to, const REAL *matrix, int64_t rows, int64_t columns, int64_t down, int64_t right) {
    for (int64_t r = 0; r < rows; r += ROWS)
        for (int64_t c = 0; c < columns; c++)
            for (int64_t i = 0; i < ROWS; i++) *to++ = r + i < rows ? matrix[(r + i) * down + c * right] : 0;
}

/* out = matrix z, or out += matrix z; rows x columns by columns x WIDTH; `out` has room for whole panels. */
FN void NAME(product)(Vec *out, const REAL *panels, const Vec *z, int64_t rows, int64_t columns, int add) {
    for (int64_t r = 0; r < rows; r += ROWS, panels += columns * ROWS, out += 2 * ROWS) {
        Vec sums[ROWS][2] = {{{0}}};
        if (add) memcpy(sums, out, sizeof(sums));
        for (int64_t c = 0; c < columns; c++) {
            const Vec left = z[2 * c], right = z[2 * c + 1];
#pragma GCC unroll 16
            for (int i = 0; i < ROWS; i++) {
                const REAL weight = panels[c * ROWS + i];
                sums[i][0] += weight * left;
                sums[i][1] += weight * right;
            }
        }
        memcpy(out, sums, sizeof(sums));
    }
}

FN Vec NAME(select)(Bits mask, Vec yes, Vec no) { return (Vec)((mask & (Bits)yes) | (~mask & (Bits)no)); }

/* exp(x) - 1 = 2^k (exp(r) - 1) + 2^k - 1, x = k log 2 + r, |r| <= log(2) / 2, exp(r) by its Taylor series. */
FN Vec NAME(expm1)(Vec x) {
    const int wide = sizeof(REAL) == 8;
    const REAL limit = wide ? (REAL)700 : (REAL)86;
    const REAL shift = wide ? (REAL)6755399441055744.0 : (REAL)12582912.0; /* 1.5 times 2 to the bits of a fraction */
    const REAL high = wide ? (REAL)6.93147180369123816490e-01 : (REAL)0.693359375;
    const REAL low = wide ? (REAL)1.90821492927058770002e-10 : (REAL)-2.12194440e-4;
    const Vec ones = {0};
    x = NAME(select)((Bits)(x > limit), ones + limit, x);
    x = NAME(select)((Bits)(x < -limit), ones - limit, x);
    const Vec shifted = x * (REAL)1.44269504088896340736 + shift;
    const Vec k = shifted - shift;
    const Vec r = (x - k * high) - k * low;
    const Vec power = (Vec)(((Bits)shifted << (wide ? 52 : 23)) + (Bits)(ones + (REAL)1));
    Vec series = ones;
    static const double factorials[] = {1,     2,      6,       24,       120,       720,       5040,
                                        40320, 362880, 3628800, 39916800, 479001600, 6227020800};
#pragma GCC unroll 16
    for (int n = wide ? 12 : 6; n > 0; n--) series = (series + (REAL)(1 / factorials[n])) * r;
    return power * (series * r + r) + (power - (REAL)1);
}

FN Vec NAME(sigmoid)(Vec x) { return (REAL)1 / ((REAL)2 + NAME(expm1)(-x)); }

FN Vec NAME(tanh)(Vec x) {
    const Vec e = NAME(expm1)(x + x);
    return e / (e + (REAL)2);
}

/* The layer at a batch. matrix: W, R and b side by side, 4H x S, S = I + H + 1. peephole: 3 x H. stored: chunk by chunk, step
   by step, S + 7H rows of WIDTH: x_t, h_(t-1) and 1; the cells c_t; for every unit the gains A, D by i, f, g, E, and B. */
typedef struct {
    int64_t steps, inputs, hidden, examples;
    const REAL *matrix, *peephole;
    Vec *stored;
} NAME(Layer);

int64_t NAME(width)(void) { return WIDTH; }

FN Vec *NAME(step)(const NAME(Layer) *layer, int64_t chunk, int64_t t) {
    return layer->stored + 2 * (chunk * layer->steps + t) * (layer->inputs + 8 * layer->hidden + 1);
}

/* How many of a chunk's lanes are examples. */
FN int64_t NAME(lanes)(const NAME(Layer) *layer, int64_t chunk) {
    const int64_t left = layer->examples - chunk * WIDTH;
    return left < WIDTH ? left : WIDTH;
}

/* Run the layer over the chunks [from, to): from x, T x I x N, to h, T x H x N. Every chunk's steps are stored, or, where only
   h is wanted, `stored` has room for one step per call. 0: no memory. */
TARGET int NAME(forward)(const NAME(Layer) *layer, int64_t keep, const REAL *x, REAL *states, int64_t from, int64_t to) {
    const int64_t H = layer->hidden, I = layer->inputs, S = I + H + 1, N = layer->examples, padded = 4 * H + ROWS;
    REAL *memory = aligned_memory((S * padded + (padded + 2 * H + S + 7 * H) * WIDTH) * sizeof(REAL));
    if (!memory) return 0;
    Vec *a = (Vec *)memory, *cell = a + 2 * padded, *h = cell + 2 * H, *own = h + 2 * H;
    REAL *panels = (REAL *)(own + 2 * (S + 7 * H));
    NAME(pack)(panels, layer->matrix, 4 * H, S, S, 1);
    const REAL *p = layer->peephole;
    for (int64_t chunk = from; chunk < to; chunk++) {
        const int64_t count = NAME(lanes)(layer, chunk), n = chunk * WIDTH;
        for (int64_t u = 0; u < 2 * H; u++) cell[u] = h[u] = (Vec){0};
        for (int64_t t = 0; t < layer->steps; t++) {
            Vec *seen = keep ? NAME(step)(layer, chunk, t) : own, *cells = seen + 2 * S, *gains = cells + 2 * H;
            for (int64_t i = 0; i < I; i++) NAME(load)(seen + 2 * i, x + (t * I + i) * N + n, count);
            memcpy(seen + 2 * I, h, 2 * H * sizeof(Vec));
            for (int v = 0; v < 2; v++) seen[2 * (S - 1) + v] = (Vec){0} + (REAL)1;
            NAME(product)(a, panels, seen, 4 * H, S, 0);
            for (int64_t u = 0; u < H; u++, gains += 12) {
                for (int v = 0; v < 2; v++) {
                    const Vec before = cell[2 * u + v];
                    const Vec i = NAME(sigmoid)(a[2 * u + v] + p[u] * before);
                    const Vec f = NAME(sigmoid)(a[2 * (H + u) + v] + p[H + u] * before);
                    const Vec g = NAME(tanh)(a[2 * (2 * H + u) + v]);
                    const Vec c = f * before + i * g;
                    const Vec o = NAME(sigmoid)(a[2 * (3 * H + u) + v] + p[2 * H + u] * c);
                    const Vec squashed = NAME(tanh)(c);
                    h[2 * u + v] = o * squashed;
                    cell[2 * u + v] = c;
                    if (!keep) continue;
                    const Vec by_i = (i - i * i) * g, by_f = (f - f * f) * before, by_o = (squashed - h[2 * u + v]) * o;
                    cells[2 * u + v] = c;
                    gains[v] = f + p[u] * by_i + p[H + u] * by_f;
                    gains[2 + v] = by_i;
                    gains[4 + v] = by_f;
                    gains[6 + v] = i - i * g * g;
                    gains[8 + v] = by_o;
                    gains[10 + v] = o - o * squashed * squashed + p[2 * H + u] * by_o;
                }
                NAME(store)(states + (t * H + u) * N + n, h + 2 * u, count);
            }
        }
    }
    free(memory);
    return 1;
}

/* The layer's tangent h' (T x H x K x N) of the inputs' x' (T x I x K x N, or null) and, where K = 1, of the weights':
   tangents: W', R' and b' side by side, 4H x S, or null; peephole: p', 3 x H, or null. */
TARGET int NAME(tangent)(const NAME(Layer) *layer, const REAL *x, const REAL *tangents, const REAL *peephole,
                         REAL *states, int64_t stack, int64_t from, int64_t to) {
    const int64_t H = layer->hidden, I = layer->inputs, S = I + H + 1, N = layer->examples, wide = stack * N;
    const int64_t X = x ? I : 0, C = X + H, padded = 4 * H + ROWS;
    REAL *memory = aligned_memory(((C + S) * padded + (padded + C + H) * WIDTH) * sizeof(REAL));
    if (!memory) return 0;
    Vec *a = (Vec *)memory, *z = a + 2 * padded, *h = z + 2 * X, *cell = h + 2 * H;
    REAL *panels = (REAL *)(cell + 2 * H), *own = panels + C * padded;
    NAME(pack)(panels, layer->matrix + I - X, 4 * H, C, S, 1);
    if (tangents) NAME(pack)(own, tangents, 4 * H, S, S, 1);
    for (int64_t chunk = from; chunk < to; chunk++) {
        const int64_t count = NAME(lanes)(layer, chunk), n = chunk * WIDTH;
        for (int64_t k = 0; k < stack; k++) {
            const Vec *before = NULL;
            for (int64_t u = 0; u < 2 * H; u++) cell[u] = h[u] = (Vec){0};
            for (int64_t t = 0; t < layer->steps; t++) {
                const Vec *seen = NAME(step)(layer, chunk, t), *cells = seen + 2 * S, *gains = cells + 2 * H;
                for (int64_t i = 0; i < X; i++) NAME(load)(z + 2 * i, x + (t * I + i) * wide + k * N + n, count);
                NAME(product)(a, panels, z, 4 * H, C, 0);
                if (tangents) NAME(product)(a, own, seen, 4 * H, S, 1);
                for (int64_t u = 0; u < H; u++, gains += 12) {
                    for (int v = 0; v < 2; v++) {
                        Vec i = a[2 * u + v], f = a[2 * (H + u) + v], o = a[2 * (3 * H + u) + v];
                        if (peephole) {
                            if (before) {
                                i += peephole[u] * before[2 * u + v];
                                f += peephole[H + u] * before[2 * u + v];
                            }
                            o += peephole[2 * H + u] * cells[2 * u + v];
                        }
                        const Vec c = gains[v] * cell[2 * u + v] + gains[2 + v] * i + gains[4 + v] * f +
                                      gains[6 + v] * a[2 * (2 * H + u) + v];
                        h[2 * u + v] = gains[8 + v] * o + gains[10 + v] * c;
                        cell[2 * u + v] = c;
                    }
                    NAME(store)(states + (t * H + u) * wide + k * N + n, h + 2 * u, count);
                }
                before = cells;
            }
        }
    }
    free(memory);
    return 1;
}

/* Add the sums over the steps of a_r seen_c, lane by lane, of one half of a chunk: rows by columns, ROWS by 2 at once.
   a: T x rows, a multiple of ROWS; seen: a step's first row of columns, `apart` vectors from the next step's. */
FN void NAME(outer)(const Vec *a, const Vec *seen, int64_t apart, int64_t steps, int64_t rows, int64_t columns, int half,
                    Vec *sums) {
    for (int64_t c = 0; c < columns; c += 2) {
        const int64_t next = c + 1 < columns;
        for (int64_t r = 0; r < rows; r += ROWS) {
            Vec part[ROWS][2] = {{{0}}};
            for (int64_t t = 0; t < steps; t++) {
                const Vec *left = a + 2 * (t * rows + r) + half, *right = seen + t * apart + 2 * c + half;
#pragma GCC unroll 16
                for (int i = 0; i < ROWS; i++) {
                    part[i][0] += left[2 * i] * right[0];
                    part[i][1] += left[2 * i] * right[2 * next];
                }
            }
            for (int i = 0; i < ROWS; i++)
                for (int64_t j = 0; j <= next; j++) sums[2 * ((r + i) * columns + c + j) + half] += part[i][j];
        }
    }
}

/* Sum over both halves and all lanes of an entry. */
FN double NAME(total)(const Vec *entry) {
    const REAL *lanes = (const REAL *)entry;
    double sum = 0;
    for (int64_t j = 0; j < WIDTH; j++) sum += lanes[j];
    return sum;
}

/* The transpose of the tangent: from the cotangents of h, T x H x K x N, whose step, unit and vector lie `by`, `down` and
   `across` numbers apart, to those of x (T x I x K x N, or null) and of [W R b] and the peepholes, each null or
   sums: added up over steps and examples, 4H S and 3H; only where K = 1;
   rows: added up over the steps, example by example, (4H S + 3H) x K x N. */
TARGET int NAME(backward)(const NAME(Layer) *layer, const REAL *states, int64_t by, int64_t down, int64_t across,
                          REAL *x, double *sums, REAL *rows, int64_t stack, int64_t from, int64_t to) {
    const int64_t H = layer->hidden, I = layer->inputs, S = I + H + 1, N = layer->examples, wide = stack * N;
    const int64_t T = layer->steps, X = x ? I : 0, C = X + H, A = (4 * H + ROWS - 1) / ROWS * ROWS;
    const int64_t padded = C + ROWS, entries = 4 * H * S + 3 * H, apart = 2 * (S + 7 * H), all = sums || rows;
    REAL *memory = aligned_memory((4 * H * padded + ((all ? T : 1) * A + padded + H + A * S + 3 * H) * WIDTH) * sizeof(REAL));
    if (!memory) return 0;
    /* The cotangents of the sums that enter the gates: of every step where the weights' are wanted. */
    Vec *a = (Vec *)memory, *out = a + 2 * (all ? T : 1) * A, *cell = out + 2 * padded, *part = cell + 2 * H;
    Vec *peepholes = part + 2 * A * S;
    REAL *panels = (REAL *)(peepholes + 2 * 3 * H);
    NAME(pack)(panels, layer->matrix + I - X, C, 4 * H, 1, S);
    memset(memory, 0, (char *)panels - (char *)memory);
    for (int64_t chunk = from; chunk < to; chunk++) {
        const int64_t count = NAME(lanes)(layer, chunk), n = chunk * WIDTH;
        for (int64_t k = 0; k < stack; k++) {
            for (int64_t u = 0; u < 2 * H; u++) cell[u] = out[2 * X + u] = (Vec){0};
            for (int64_t t = T - 1; t >= 0; t--) {
                Vec *now = all ? a + 2 * t * A : a;
                const Vec *gains = NAME(step)(layer, chunk, t) + 2 * (S + H);
                for (int64_t u = 0; u < H; u++, gains += 12) {
                    Vec h[2];
                    NAME(load)(h, states + t * by + u * down + k * across + n, count);
                    for (int v = 0; v < 2; v++) {
                        h[v] += out[2 * (X + u) + v];
                        const Vec c = gains[10 + v] * h[v] + cell[2 * u + v];
                        cell[2 * u + v] = gains[v] * c;
                        now[2 * u + v] = gains[2 + v] * c;
                        now[2 * (H + u) + v] = gains[4 + v] * c;
                        now[2 * (2 * H + u) + v] = gains[6 + v] * c;
                        now[2 * (3 * H + u) + v] = gains[8 + v] * h[v];
                    }
                }
                if (!x && !t) break;
                NAME(product)(out, panels, now, C, 4 * H, 0);
                for (int64_t i = 0; i < X; i++) NAME(store)(x + (t * I + i) * wide + k * N + n, out + 2 * i, count);
            }
            if (!all) continue;
            const Vec *seen = NAME(step)(layer, chunk, 0), *cells = seen + 2 * S;
            for (int half = 0; half < 2; half++) {
                NAME(outer)(a, seen, apart, T, A, S, half, part);
                for (int64_t j = 0; j < 3 * H; j++) {
                    const int64_t gate = j < 2 * H ? j : j + H, before = j < 2 * H;
                    const Vec *left = a + 2 * gate + half, *right = cells + 2 * (j % H) + half;
                    Vec sum = {0};
                    for (int64_t t = before; t < T; t++) sum += left[2 * t * A] * right[(t - before) * apart];
                    peepholes[2 * j + half] += sum;
                }
            }
            if (!rows) continue;
            for (int64_t i = 0; i < entries; i++)
                NAME(store)(rows + i * wide + k * N + n, i < 4 * H * S ? part + 2 * i : peepholes + 2 * (i - 4 * H * S),
                            count);
            memset(part, 0, 2 * (A * S + 3 * H) * sizeof(Vec));
        }
    }
    if (sums)
        for (int64_t i = 0; i < entries; i++)
            sums[i] += NAME(total)(i < 4 * H * S ? part + 2 * i : peepholes + 2 * (i - 4 * H * S));
    free(memory);
    return 1;
}

#undef Vec
#undef Loose
#undef Bits
#undef LANES
#undef WIDTH
#undef FN
