// The fields of a struct by name, for what is written down, read or compared field by field:
//
//   struct AdamOptions { float beta1 = 0.9f; float beta2 = 0.999f; };
//   ZOOD_FIELDS(AdamOptions, beta1, beta2)
//
// defines Fields(visit, options), which calls visit("beta1", options.beta1) and so on, in order.
#pragma once

#define ZOOD_FIELDS(Type, ...)                                                  \
  template <typename Visitor>                                                   \
  void Fields([[maybe_unused]] Visitor& visit, [[maybe_unused]] Type& object) { \
    __VA_OPT__(ZOOD_FIELDS_EXPAND(ZOOD_FIELDS_VISIT(__VA_ARGS__)))              \
  }

// Inside of a struct, the same as a static member VisitFields(visit, object), const or not.
#define ZOOD_VISIT_FIELDS(...)                                                              \
  template <typename Visitor, typename Self>                                                \
  static void VisitFields([[maybe_unused]] Visitor& visit, [[maybe_unused]] Self& object) { \
    __VA_OPT__(ZOOD_FIELDS_EXPAND(ZOOD_FIELDS_VISIT(__VA_ARGS__)))                          \
  }

// Visits the first field, then the rest: the preprocessor does not expand a macro inside of itself,
// so that the next call is left to the next pass of ZOOD_FIELDS_EXPAND. Enough for 27 fields.
#define ZOOD_FIELDS_VISIT(name, ...) \
  visit(#name, object.name);         \
  __VA_OPT__(ZOOD_FIELDS_NEXT ZOOD_FIELDS_NOTHING()(__VA_ARGS__))
#define ZOOD_FIELDS_NEXT() ZOOD_FIELDS_VISIT
#define ZOOD_FIELDS_NOTHING
#define ZOOD_FIELDS_EXPAND(...) \
  ZOOD_FIELDS_EXPAND2(ZOOD_FIELDS_EXPAND2(ZOOD_FIELDS_EXPAND2(__VA_ARGS__)))
#define ZOOD_FIELDS_EXPAND2(...) \
  ZOOD_FIELDS_EXPAND1(ZOOD_FIELDS_EXPAND1(ZOOD_FIELDS_EXPAND1(__VA_ARGS__)))
#define ZOOD_FIELDS_EXPAND1(...) \
  ZOOD_FIELDS_EXPAND0(ZOOD_FIELDS_EXPAND0(ZOOD_FIELDS_EXPAND0(__VA_ARGS__)))
#define ZOOD_FIELDS_EXPAND0(...) __VA_ARGS__
