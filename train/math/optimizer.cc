#include "train/math/optimizer.h"

#include <cmath>
#include <cstddef>
#include <utility>

#include "base/option_check.h"
#include "base/status.h"

namespace zood::train {
namespace {

// Calls rule(g, w, slots...) with the gradient, the weight and the slots of each element.
//
// Plain loops, which the compiler vectorizes with exact roots and quotients. Eigen's vectorized
// root is an approximation, but not for an array's last elements: with it a weight would depend on
// where in an array it lies.
template <typename Rule, std::size_t... kSlot>
void ForEachElement(const Update& update, const Rule& rule, std::index_sequence<kSlot...>) {
  const float* __restrict g = update.gradient.data();
  float* __restrict w = update.variable.data();
  const auto loop = [&rule, g, w, size = update.variable.size()](auto* __restrict... slot) {
    for (std::size_t i = 0; i < size; ++i) rule(g[i], w[i], slot[i]...);
  };
  loop(update.slots[kSlot].data()...);
}

template <std::size_t kSlots, typename Rule>
void ForEachElement(const Update& update, const Rule& rule) {
  ForEachElement(update, rule, std::make_index_sequence<kSlots>());
}

using Slots = std::vector<StateSpec>;

// What all optimizers share: a name, slots, options.
template <typename Options>
class Configured : public Optimizer {
 public:
  Configured(const char* name, Slots slots, const Options& options)
      : options_(options), name_(name), slots_(std::move(slots)) {}
  std::string name() const final { return name_; }
  Slots slots() const final { return slots_; }

 protected:
  const Options options_;

 private:
  const char* const name_;
  const Slots slots_;
};

class SgdOptimizer final : public Configured<SgdOptions> {
 public:
  using Configured::Configured;
  void Apply(const Update& update) const override {
    ForEachElement<0>(update, [&](float g, float& w) { w -= update.learning_rate * g; });
  }
};

class MomentumOptimizer final : public Configured<MomentumOptions> {
 public:
  using Configured::Configured;
  void Apply(const Update& update) const override {
    const float lr = update.learning_rate, mu = options_.momentum;
    ForEachElement<1>(update, [&](float g, float& w, float& a) {
      a = a * mu + g;
      if (options_.nesterov) {
        w -= g * lr + a * mu * lr;
      } else {
        w -= a * lr;
      }
    });
  }
};

class AdagradOptimizer final : public Configured<AdagradOptions> {
 public:
  using Configured::Configured;
  void Apply(const Update& update) const override {
    ForEachElement<1>(update, [&](float g, float& w, float& a) {
      a += g * g;
      w -= g * update.learning_rate / std::sqrt(a);
    });
  }
};

class AdadeltaOptimizer final : public Configured<AdadeltaOptions> {
 public:
  using Configured::Configured;
  void Apply(const Update& update) const override {
    const float rho = options_.rho, epsilon = options_.epsilon;
    ForEachElement<2>(update, [&](float g, float& w, float& a, float& u) {
      a = a * rho + g * g * (1 - rho);
      const float d = std::sqrt(u + epsilon) / std::sqrt(a + epsilon) * g;
      w -= d * update.learning_rate;
      u = u * rho + d * d * (1 - rho);
    });
  }
};

class AdamOptimizer final : public Configured<AdamOptions> {
 public:
  using Configured::Configured;
  std::vector<StateSpec> scalars() const override {
    return {{"beta1_power", options_.beta1}, {"beta2_power", options_.beta2}};
  }
  void Apply(const Update& update) const override {
    const float beta1_power = update.scalars[0], beta2_power = update.scalars[1];
    const float rate = update.learning_rate * std::sqrt(1 - beta2_power) / (1 - beta1_power);
    ForEachElement<2>(update, [&](float g, float& w, float& m, float& v) {
      m += (g - m) * (1 - options_.beta1);
      v += (g * g - v) * (1 - options_.beta2);
      w -= m * rate / (std::sqrt(v) + options_.epsilon);
    });
  }
  void FinishStep(std::span<float> scalars) const override {
    scalars[0] *= options_.beta1;
    scalars[1] *= options_.beta2;
  }
};

class RmsPropOptimizer final : public Configured<RmsPropOptions> {
 public:
  using Configured::Configured;
  void Apply(const Update& update) const override {
    if (options_.centered) return ApplyCentered(update);
    const float lr = update.learning_rate, kept = 1 - options_.decay;
    ForEachElement<2>(update, [&](float g, float& w, float& ms, float& momentum) {
      ms += (g * g - ms) * kept;
      momentum = momentum * options_.momentum + g * lr / std::sqrt(ms + options_.epsilon);
      w -= momentum;
    });
  }

 private:
  void ApplyCentered(const Update& update) const {
    const float lr = update.learning_rate, kept = 1 - options_.decay;
    ForEachElement<3>(update, [&](float g, float& w, float& ms, float& mg, float& momentum) {
      ms += (g * g - ms) * kept;
      mg += (g - mg) * kept;
      const float variance = ms - mg * mg + options_.epsilon;
      momentum = momentum * options_.momentum + g * lr / std::sqrt(variance);
      w -= momentum;
    });
  }
};

class FtrlOptimizer final : public Configured<FtrlOptions> {
 public:
  using Configured::Configured;
  // A scalar loop: a vectorized power rounds by where an array begins, and then a variable that is
  // updated in pieces would differ from one that is not.
  void Apply(const Update& update) const override {
    const float lr = update.learning_rate;
    // z has no limit where lr goes to 0, and TensorFlow makes NaN of every weight. A rate of 0 (the
    // first step of a warm-up, the end of a schedule) means no change.
    if (lr == 0) return;
    for (std::size_t i = 0; i < update.variable.size(); ++i) {
      float& w = update.variable[i];
      float& n = update.slots[0][i];
      float& z = update.slots[1][i];
      const float g = update.gradient[i];
      const float old_power = Power(n);
      n += g * g;
      const float new_power = Power(n);
      z += g + 2 * options_.l2_shrinkage * w - (new_power - old_power) / lr * w;
      const float quadratic = new_power / lr + 2 * options_.l2;
      w = std::abs(z) > options_.l1 ? (std::copysign(options_.l1, z) - z) / quadratic : 0;
    }
  }

 private:
  float Power(float n) const {
    return options_.learning_rate_power == -0.5f ? std::sqrt(n)
                                                 : std::pow(n, -options_.learning_rate_power);
  }
};

}  // namespace

OptimizerPtr Sgd() { return std::make_shared<SgdOptimizer>("sgd", Slots(), SgdOptions()); }

absl::StatusOr<OptimizerPtr> Momentum(const MomentumOptions& options) {
  ZOOD_RETURN_IF_ERROR(CheckOption("momentum", "momentum", options.momentum, kFraction));
  return std::make_shared<MomentumOptimizer>("momentum", Slots{{"Momentum", 0}}, options);
}

absl::StatusOr<OptimizerPtr> Adagrad(const AdagradOptions& options) {
  // At zero, the first gradient that is zero would make 0 / 0 of its weight.
  ZOOD_RETURN_IF_ERROR(CheckOption("adagrad", "initial_accumulator_value",
                                   options.initial_accumulator_value, kPositive));
  return std::make_shared<AdagradOptimizer>(
      "adagrad", Slots{{"Adagrad", options.initial_accumulator_value}}, options);
}

absl::StatusOr<OptimizerPtr> Adadelta(const AdadeltaOptions& options) {
  ZOOD_RETURN_IF_ERROR(CheckOption("adadelta", "rho", options.rho, kBelowOne));
  ZOOD_RETURN_IF_ERROR(CheckOption("adadelta", "epsilon", options.epsilon, kPositive));
  return std::make_shared<AdadeltaOptimizer>("adadelta", Slots{{"Adadelta", 0}, {"Adadelta_1", 0}},
                                             options);
}

absl::StatusOr<OptimizerPtr> Adam(const AdamOptions& options) {
  ZOOD_RETURN_IF_ERROR(CheckOption("adam", "beta1", options.beta1, kBelowOne));
  ZOOD_RETURN_IF_ERROR(CheckOption("adam", "beta2", options.beta2, kBelowOne));
  ZOOD_RETURN_IF_ERROR(CheckOption("adam", "epsilon", options.epsilon, kPositive));
  return std::make_shared<AdamOptimizer>("adam", Slots{{"Adam", 0}, {"Adam_1", 0}}, options);
}

absl::StatusOr<OptimizerPtr> Ftrl(const FtrlOptions& options) {
  ZOOD_RETURN_IF_ERROR(
      CheckOption("ftrl", "learning_rate_power", options.learning_rate_power, {.high = 0}));
  ZOOD_RETURN_IF_ERROR(CheckOption("ftrl", "initial_accumulator_value",
                                   options.initial_accumulator_value, kPositive));
  ZOOD_RETURN_IF_ERROR(CheckOption("ftrl", "l1", options.l1, kNotNegative));
  ZOOD_RETURN_IF_ERROR(CheckOption("ftrl", "l2", options.l2, kNotNegative));
  ZOOD_RETURN_IF_ERROR(CheckOption("ftrl", "l2_shrinkage", options.l2_shrinkage, kNotNegative));
  return std::make_shared<FtrlOptimizer>(
      "ftrl", Slots{{"Ftrl", options.initial_accumulator_value}, {"Ftrl_1", 0}}, options);
}

absl::StatusOr<OptimizerPtr> RmsProp(const RmsPropOptions& options) {
  ZOOD_RETURN_IF_ERROR(CheckOption("rmsprop", "decay", options.decay, kFraction));
  ZOOD_RETURN_IF_ERROR(CheckOption("rmsprop", "momentum", options.momentum, kFraction));
  ZOOD_RETURN_IF_ERROR(CheckOption("rmsprop", "epsilon", options.epsilon, kPositive));
  Slots slots = {{"RMSProp", 1}, {"RMSProp_1", 0}};
  if (options.centered) slots.push_back({"RMSProp_2", 0});
  return std::make_shared<RmsPropOptimizer>("rmsprop", std::move(slots), options);
}

}  // namespace zood::train
