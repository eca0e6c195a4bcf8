// Rules that turn a gradient into a change of a variable.
//
// Each is an interface that a program of its own may implement. Formulas, defaults, slot names and
// the place of every epsilon are TensorFlow's (tf.compat.v1.train), in float32 as its kernels
// compute, so that a checkpoint with slots continues there or here; docs/training.md has them.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/fields.h"

namespace zood::train {

// A value that must outlive a step, named as a checkpoint names it.
struct StateSpec {
  std::string name;
  float initial_value = 0;
};

// One variable's part of one step. The gradient, the variable and every slot have equal lengths and
// do not overlap.
struct Update {
  std::int64_t step = 0;  // steps finished before this one
  float learning_rate = 0;
  std::span<const float> gradient;
  std::span<float> variable;
  std::span<const std::span<float>> slots;  // in the order of Optimizer::slots()
  std::span<const float> scalars;           // in the order of Optimizer::scalars()
};

// A configuration and nothing else: all state is the caller's, most easily in an OptimizerState
// (train/math/optimizer_state.h). Immutable, hence thread-safe; shared by pointer.
class Optimizer {
 public:
  virtual ~Optimizer() = default;
  virtual std::string name() const = 0;

  // The arrays kept for each variable, each of that variable's shape. A checkpoint names them
  // "<variable>/<slot>".
  virtual std::vector<StateSpec> slots() const { return {}; }

  // The numbers kept once for all variables.
  virtual std::vector<StateSpec> scalars() const { return {}; }

  // Changes `update.variable` and `update.slots`. Every element is computed from the elements at
  // its own index alone, so that a variable may be updated in pieces, by several threads.
  virtual void Apply(const Update& update) const = 0;

  // Called once after each step's last Apply().
  virtual void FinishStep(std::span<float> scalars) const { static_cast<void>(scalars); }
};
using OptimizerPtr = std::shared_ptr<const Optimizer>;

// w -= lr * g.
OptimizerPtr Sgd();
struct SgdOptions {};
ZOOD_FIELDS(SgdOptions)

// A list of fields beside each struct maps it to the API and to what the store keeps.
struct MomentumOptions {
  float momentum = 0.9f;
  bool nesterov = false;
};
ZOOD_FIELDS(MomentumOptions, momentum, nesterov)

struct AdagradOptions {
  float initial_accumulator_value = 0.1f;
};
ZOOD_FIELDS(AdagradOptions, initial_accumulator_value)

struct AdadeltaOptions {
  float rho = 0.95f;
  float epsilon = 1e-8f;
};
ZOOD_FIELDS(AdadeltaOptions, rho, epsilon)

struct AdamOptions {
  float beta1 = 0.9f;
  float beta2 = 0.999f;
  float epsilon = 1e-8f;  // "epsilon hat": beside the root of the uncorrected second moment
};
ZOOD_FIELDS(AdamOptions, beta1, beta2, epsilon)

struct FtrlOptions {
  float learning_rate_power = -0.5f;
  float initial_accumulator_value = 0.1f;
  float l1 = 0;
  float l2 = 0;
  float l2_shrinkage = 0;
};
ZOOD_FIELDS(FtrlOptions, learning_rate_power, initial_accumulator_value, l1, l2, l2_shrinkage)

struct RmsPropOptions {
  float decay = 0.9f;
  float momentum = 0;
  float epsilon = 1e-10f;  // inside the root
  bool centered = false;
};
ZOOD_FIELDS(RmsPropOptions, decay, momentum, epsilon, centered)

// InvalidArgument, naming the option, where one is not finite or outside the range in which the
// rule is defined.
absl::StatusOr<OptimizerPtr> Momentum(const MomentumOptions& options);
absl::StatusOr<OptimizerPtr> Adagrad(const AdagradOptions& options);
absl::StatusOr<OptimizerPtr> Adadelta(const AdadeltaOptions& options);
absl::StatusOr<OptimizerPtr> Adam(const AdamOptions& options);
absl::StatusOr<OptimizerPtr> Ftrl(const FtrlOptions& options);
absl::StatusOr<OptimizerPtr> RmsProp(const RmsPropOptions& options);

}  // namespace zood::train
