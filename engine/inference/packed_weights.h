// The weights of an executable in the forms that its kernels require, each made and kept once.
#pragma once

#include <compare>
#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/dtype.h"
#include "base/mutex.h"

namespace zood::engine {

// What one implementation made of one layer's weights; its type is the implementation's own.
class PackedForm {
 public:
  virtual ~PackedForm() = default;
  virtual std::size_t bytes() const = 0;
};

// Shared by the programs of all batch sizes. Thread-safe.
class PackedWeights {
 public:
  struct Key {
    std::string weights;         // WeightsRef::Key(): equal for equal effective weights
    DType dtype;                 // of the packed elements
    std::string implementation;  // whose form it is: "oneDNN convolution"

    friend auto operator<=>(const Key&, const Key&) = default;
  };
  using Form = std::shared_ptr<const PackedForm>;

  // What is held for `key`, in the order it was made.
  std::vector<Form> Held(const Key& key) const;

  // The first that is held for `key` and `fits`; or else what `make` gives, which is held from now.
  Form Get(const Key& key, const std::function<bool(const PackedForm&)>& fits,
           const std::function<Form()>& make);

  // Of all forms.
  std::size_t bytes() const;

 private:
  mutable Mutex mutex_;
  std::map<Key, std::vector<Form>> forms_ ABSL_GUARDED_BY(mutex_);
  std::size_t bytes_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace zood::engine
