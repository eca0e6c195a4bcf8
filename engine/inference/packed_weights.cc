#include "engine/inference/packed_weights.h"

#include <utility>

namespace zood::engine {

std::vector<PackedWeights::Form> PackedWeights::Held(const Key& key) const {
  const MutexLock lock(mutex_);
  const auto it = forms_.find(key);
  return it == forms_.end() ? std::vector<Form>() : it->second;
}

PackedWeights::Form PackedWeights::Get(const Key& key,
                                       const std::function<bool(const PackedForm&)>& fits,
                                       const std::function<Form()>& make) {
  const MutexLock lock(mutex_);
  std::vector<Form>& forms = forms_[key];
  for (const Form& form : forms) {
    if (fits(*form)) return form;
  }
  Form made = make();
  bytes_ += made->bytes();
  return forms.emplace_back(std::move(made));
}

std::size_t PackedWeights::bytes() const {
  const MutexLock lock(mutex_);
  return bytes_;
}

}  // namespace zood::engine
