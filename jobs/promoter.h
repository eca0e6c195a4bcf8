// How aliases come to a job's versions and go back: for runs and for calls alike.
//
// A version is loaded before an alias in use moves to it, so that no request waits. The alias, the
// history of its moves and the event that tells of it then change in one transaction, which is
// Aborted where somebody else has moved the alias meanwhile.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "jobs/job.h"
#include "serving/catalogue.h"
#include "serving/model_manager.h"
#include "store/batch.h"

namespace zood::jobs {

// As the job's events and its record tell it.
AliasMove FromStore(const store::AliasMove& move);
// The moves of a batch, as events.
std::vector<store::NewJobEvent> EventsOf(const std::vector<store::AliasMove>& moves);
// For a batch: the job's events tell of the aliases that it moves.
store::JobUpdate TellOfMoves(const std::string& job_id);

// Thread-safe.
class Promoter {
 public:
  // All references outlive the promoter.
  Promoter(serving::Catalogue& catalogue, serving::ModelManager& manager)
      : catalogue_(catalogue), manager_(manager) {}

  // What the job moved, oldest first; moves back only as AliasMove::rolled_back.
  absl::StatusOr<std::vector<AliasMove>> MovesOf(const std::string& job_id) const;

  // Points `alias`, which names `expected` (0: nothing), at `version` on the job's behalf. Nothing
  // where it does so already. Errors of ModelManager::SetAlias().
  absl::StatusOr<std::optional<AliasMove>> Move(const Job& job, const std::string& alias,
                                                std::int64_t version, std::int64_t expected);

  // Takes the job's last move of `alias` (empty: of any) back. FailedPrecondition where there is
  // none, or where the alias named nothing before; Aborted where somebody has moved it since.
  absl::StatusOr<AliasMove> RollBack(const Job& job, const std::string& alias);

 private:
  absl::StatusOr<std::optional<AliasMove>> Commit(store::AliasChange change);

  serving::Catalogue& catalogue_;
  serving::ModelManager& manager_;
};

}  // namespace zood::jobs
