// A formula over flat tensors, as merge_ops/expression.py defines it, bit for bit.
//
// Compiled once per variant by merge_ops/native.py, which gives DTYPE (bfloat16, float16 or
// float32), OPERANDS, ADDED, SELECT, CUTS, ELECT and SHARES. Vectors are those of GCC and Clang,
// not of one processor. Fused multiply-add must be off.

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

namespace {

enum Dtype { bfloat16, float16, float32 };
enum Select { all, above, between, drawn };
constexpr Dtype dtype = DTYPE;
constexpr Select select = SELECT;
constexpr int N = OPERANDS;
constexpr int LANES = 8, STEP = 2 * LANES;  // elements of a vector, and of a step of the loop
constexpr int64_t CHUNK = 1 << 16;          // elements that a thread takes at a time
constexpr int64_t PAST = 1 << 20;           // bytes of a result too large to wait in a cache
constexpr float TINY = 1e-8f;               // of merge_ops/task_vectors.py
constexpr uint32_t SIGN = 0x80000000u;

typedef float Floats __attribute__((vector_size(4 * LANES)));
typedef int32_t Ints __attribute__((vector_size(4 * LANES)));
typedef uint32_t Bits __attribute__((vector_size(4 * LANES)));

template <typename To, typename From> inline To as(From x) {
  static_assert(sizeof(To) == sizeof(From));
  To y;
  memcpy(&y, &x, sizeof y);
  return y;
}

template <typename Vector> inline Vector load(const void* from) {
  Vector x;
  memcpy(&x, from, sizeof x);
  return x;
}

// Past the cache, where asked for and known how: what is overwritten then need not be read first.
// `to` must be a multiple of the vector's size.
template <typename Vector> inline void store(void* to, Vector x, bool past) {
#if defined(__clang__)
  if (past) return __builtin_nontemporal_store(x, (Vector*)to);
#elif defined(__AVX__)
  typedef long long Longs __attribute__((vector_size(sizeof(Vector))));
  if constexpr (sizeof x == 32) {
    if (past) return __builtin_ia32_movntdq256((Longs*)to, as<Longs>(x));
  } else {
    if (past) return __builtin_ia32_movntdq((Longs*)to, as<Longs>(x));
  }
#endif
  memcpy(to, &x, sizeof x);
}

// The elements of a step as two vectors. Of bfloat16 one holds the even elements and one the odd:
// that takes one instruction each, where neighbours would have to be moved apart.
struct Pair {
  Floats half[2];
};

template <Dtype> struct Kind;

template <> struct Kind<bfloat16> {  // the upper half of a float32
  typedef uint16_t Element;
  static constexpr int stride = 2, apart = 1;  // between indices of lanes, and of the halves
  static constexpr uint32_t upper = 0xffff0000u;

  static Pair widen(const Element* from) {
    Bits both = load<Bits>(from);
    return {{as<Floats>(both << 16), as<Floats>(both & upper)}};
  }
  static Bits rounded(Floats x) {  // to the nearest, ties to even; a NaN here has no lower bits
    Bits bits = as<Bits>(x);
    return bits + ((bits >> 16 & 1u) + 0x7fffu);
  }
  static void narrow(Element* to, Pair x, bool past) {
    store(to, (rounded(x.half[0]) >> 16) | (rounded(x.half[1]) & upper), past);
  }
};

template <> struct Kind<float32> {
  typedef float Element;
  static constexpr int stride = 1, apart = LANES;

  static Pair widen(const Element* from) { return load<Pair>(from); }
  static void narrow(Element* to, Pair x, bool past) {
    store(to, x.half[0], past);
    store(to + LANES, x.half[1], past);
  }
};

template <> struct Kind<float16> {
  typedef uint16_t Element;
  static constexpr int stride = 1, apart = LANES;
#ifdef __F16C__
  typedef int16_t Halves __attribute__((vector_size(2 * LANES)));
  static Floats wide(Halves x) { return __builtin_ia32_vcvtph2ps256(x); }
  static Halves narrow(Floats x) { return __builtin_ia32_vcvtps2ph256(x, 0); }  // ties to even
#elif DTYPE_IS_FLOAT16  // not every compiler knows the type
  typedef _Float16 Halves __attribute__((vector_size(2 * LANES)));
  static Floats wide(Halves x) { return __builtin_convertvector(x, Floats); }
  static Halves narrow(Floats x) { return __builtin_convertvector(x, Halves); }
#endif
#if defined(__F16C__) || DTYPE_IS_FLOAT16
  static Pair widen(const Element* from) {
    return {{wide(load<Halves>(from)), wide(load<Halves>(from + LANES))}};
  }
  static void narrow(Element* to, Pair x, bool past) {
    store(to, narrow(x.half[0]), past);
    store(to + LANES, narrow(x.half[1]), past);
  }
#endif
};

typedef Kind<dtype> K;
typedef K::Element Element;

// How many numbers a call takes; see `Variant.numbers` and `Variant.integers`.
constexpr int BOUNDS = select == above ? 1 : select == between ? 2 : 0;
constexpr int FLOATS = N * (1 + SHARES + BOUNDS) + ELECT;
constexpr int INTS = select == drawn ? 2 + 3 * N : 1 + CUTS * BOUNDS * N;

// The numbers of a call, each in all lanes.
struct Numbers {
  Floats weight[N], share[N], scale, low[N], high[N];
  Bits index, common, key[N], factor[N];
  Ints bound[N], last_low[N], last_high[N];

  Numbers(const float* numbers, const int32_t* integers) {
    auto floats = [&](Floats* x, int count) { while (count--) *x++ = Floats{} + *numbers++; };
    auto ints = [&](Ints* x, int count) { while (count--) *x++ = Ints{} + *integers++; };
    auto bits = [&](Bits* x, int count) { while (count--) *x++ = Bits{} + uint32_t(*integers++); };
    floats(weight, N);
    floats(share, SHARES ? N : 0);
    floats(&scale, ELECT);
    floats(low, select == above || select == between ? N : 0);
    floats(high, select == between ? N : 0);
    bits(&index, 1);
    for (int i = 0; i < LANES; i++) index[i] += K::stride * i;
    if (select == drawn) bits(&common, 1), bits(key, N), bits(factor, N), ints(bound, N);
    if (CUTS) ints(last_low, N), ints(last_high, select == between ? N : 0);
  }
};

inline Floats magnitude(Floats x) { return as<Floats>(as<Bits>(x) & ~SIGN); }

inline Floats one_where(Ints mask) { return as<Floats>(mask & as<Ints>(Floats{} + 1.0f)); }

inline Floats positive_part(Floats x) {  // keeps -0 and NaN, as clamp_min does
#ifdef __AVX__
  return __builtin_ia32_maxps256(Floats{}, x);  // GCC does not find it
#else
  return x < 0.0f ? Floats{} : x;
#endif
}

inline void fence() {  // what went past the cache is there for all
#ifdef __AVX__
  __builtin_ia32_sfence();
#endif
}

// Where a magnitude does not reach `low`; an equal one does up to the index `last`.
inline Ints below(Floats size, Floats low, Ints index, Ints last) {
  return CUTS ? (size < low) | ((size == low) & (index > last)) : size < low;
}

// Where an entry is dropped.
inline void choose(const Numbers& k, const Floats* tau, Bits index, Ints* drop) {
  if constexpr (select == drawn) {
    Bits x = index ^ k.common;  // `mix` of merge_ops/masks.py, then `finish`
    x = (x ^ x >> 16) * 0x7FEB352Du;
    x = (x ^ x >> 15) * 0x846CA68Bu;
    x ^= x >> 16;
    for (int i = 0; i < N; i++) drop[i] = as<Ints>((x ^ k.key[i]) * k.factor[i]) > k.bound[i];
  } else {
    for (int i = 0; i < N; i++) {
      Floats size = magnitude(tau[i]);
      drop[i] = below(size, k.low[i], as<Ints>(index), k.last_low[i]);
      if constexpr (select == between)
        drop[i] |= ~below(size, k.high[i], as<Ints>(index), k.last_high[i]);
    }
  }
}

// The sum of the entries of the elected sign; `elect` of merge_ops/task_vectors.py.
inline Floats elected(const Numbers& k, const Floats* entry, Floats total) {
  Bits minus = ~as<Bits>(total >= 0.0f) & SIGN;
  Floats sum{}, agreeing{};
  for (int i = 0; i < N; i++) {
    Floats chosen = positive_part(as<Floats>(as<Bits>(entry[i]) ^ minus));
    sum = i ? sum + chosen : chosen;
    if constexpr (SHARES) {
      Floats share = as<Floats>((chosen > 0.0f) & as<Ints>(k.share[i]));
      agreeing = i ? agreeing + share : share;
    }
  }
  sum = as<Floats>(as<Bits>(sum) ^ minus);
  return SHARES ? sum / (agreeing + one_where(magnitude(agreeing) < TINY)) : sum;
}

inline Floats merged(const Numbers& k, const Floats* tau, Bits index) {
  Floats entry[N], total{};
  Ints drop[N];
  if constexpr (select != all) choose(k, tau, index, drop);
  for (int i = 0; i < N; i++) {
    Floats weight = k.weight[i];
    if constexpr (select != all)  // 0 of the weight's sign, as what is dropped counts 0 x weight
      weight = drop[i] ? as<Floats>(as<Bits>(weight) & SIGN) : weight;
    entry[i] = tau[i] * weight;
    total = i ? total + entry[i] : entry[i];
  }
  return ELECT ? elected(k, entry, total) * k.scale : total;
}

// One step; `index` is that of its first element.
inline void step(
    const Numbers& k, Element* out, const Element* base, const Element* const* operands,
    uint32_t index, bool past) {
  Pair wide[N], result, added = ADDED ? K::widen(base) : Pair{};
  for (int i = 0; i < N; i++) wide[i] = K::widen(operands[i]);
  for (int h = 0; h < 2; h++) {
    Floats tau[N];
    for (int i = 0; i < N; i++) tau[i] = wide[i].half[h];
    Floats value = merged(k, tau, k.index + (index + h * K::apart));
    result.half[h] = ADDED ? added.half[h] + value : value;
  }
  K::narrow(out, result, past);
}

// Elements start..stop; what does not fill a step goes through a buffer, by the same code.
void stretch(
    const Numbers& k, Element* out, const Element* base, const Element* const* operands,
    int64_t start, int64_t stop, bool past) {
  const Element* from[N];
  for (; start + STEP <= stop; start += STEP) {
    for (int i = 0; i < N; i++) from[i] = operands[i] + start;
    step(k, out + start, ADDED ? base + start : nullptr, from, start, past);
  }
  if (start == stop) return;
  Element buffer[N + 2][STEP] = {};
  size_t bytes = (stop - start) * sizeof(Element);
  for (int i = 0; i < N; i++) from[i] = (Element*)memcpy(buffer[i], operands[i] + start, bytes);
  if (ADDED) memcpy(buffer[N], base + start, bytes);
  step(k, buffer[N + 1], buffer[N], from, start, false);
  memcpy(out + start, buffer[N + 1], bytes);
}

// One call: where its elements are, as merge_ops/native.py lays it out.
struct Place {
  Element* out;
  const Element *base, *operands[N];
  int64_t length;

  bool past() const { return length * int64_t(sizeof(Element)) >= PAST; }
  // What comes before the first place of a vector, where results go past the cache.
  int64_t head() const { return past() ? (-uintptr_t(out) & 31) / sizeof(Element) : 0; }
  int64_t chunks() const { return std::max<int64_t>(1, (length - head() + CHUNK - 1) / CHUNK); }

  // One chunk; the first brings the head along.
  void run(const Numbers& k, int64_t chunk) const {
    int64_t start = head() + chunk * CHUNK, stop = std::min(start + CHUNK, length);
    if (chunk == 0) stretch(k, out, base, operands, 0, start, false);
    stretch(k, out, base, operands, start, stop, past());
    if (past()) fence();
  }
};

}  // namespace

// All calls of a kernel; the chunks of all of them are one row, which the threads share.
extern "C" void run(
    const Place* places, const float* numbers, const int32_t* integers, int64_t count,
    int threads) {
  std::vector<int64_t> firsts;
  int64_t total = 0;
  for (int64_t i = 0; i < count; i++) firsts.push_back(total), total += places[i].chunks();
#pragma omp parallel for schedule(dynamic) num_threads(threads) if (threads > 1 && total > 1)
  for (int64_t j = 0; j < total; j++) {
    int64_t i = std::upper_bound(firsts.begin(), firsts.end(), j) - firsts.begin() - 1;
    places[i].run(Numbers(numbers + i * FLOATS, integers + i * INTS), j - firsts[i]);
  }
}
