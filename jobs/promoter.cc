#include "jobs/promoter.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "base/status.h"

namespace zood::jobs {
namespace {

constexpr std::chrono::minutes kLoadTime{10};
constexpr std::int64_t kMostMoves = 1000;  // of one job

}  // namespace

AliasMove FromStore(const store::AliasMove& move) {
  return {.alias = move.alias,
          .version = move.to,
          .previous = move.from,
          .at_us = move.at_us,
          .rolled_back = move.undone};
}

std::vector<store::NewJobEvent> EventsOf(const std::vector<store::AliasMove>& moves) {
  std::vector<store::NewJobEvent> events;
  for (const store::AliasMove& move : moves) events.push_back(ToStored(FromStore(move), 0));
  return events;
}

store::JobUpdate TellOfMoves(const std::string& job_id) {
  return {.id = job_id, .complete = [](const store::BatchOutcome& done, store::JobChange& change) {
            change.events = EventsOf(done.moves);
            return absl::OkStatus();
          }};
}

absl::StatusOr<std::vector<AliasMove>> Promoter::MovesOf(const std::string& job_id) const {
  ZOOD_ASSIGN_OR_RETURN(const auto stored,
                        catalogue_.store().AliasMoves({.job_id = job_id}, kMostMoves));
  std::vector<AliasMove> moves;
  for (const store::AliasMove& move : stored) {
    if (move.undoes == 0) moves.push_back(FromStore(move));
  }
  std::ranges::reverse(moves);
  return moves;
}

absl::StatusOr<std::optional<AliasMove>> Promoter::Commit(store::AliasChange change) {
  std::optional<AliasMove> move;
  const auto commit = [&]() -> absl::Status {
    ZOOD_ASSIGN_OR_RETURN(
        const store::BatchOutcome outcome,
        catalogue_.Commit({.aliases = {change}, .jobs = {TellOfMoves(change.job_id)}}));
    if (!outcome.moves.empty()) move = FromStore(outcome.moves.back());
    return absl::OkStatus();
  };
  ZOOD_RETURN_IF_ERROR(manager_.MoveAlias(change.model, change.alias, change.version,
                                          change.expected,
                                          std::chrono::steady_clock::now() + kLoadTime, commit));
  return move;
}

absl::StatusOr<std::optional<AliasMove>> Promoter::Move(const Job& job, const std::string& alias,
                                                        std::int64_t version,
                                                        std::int64_t expected) {
  if (expected == version) return std::nullopt;
  return Commit({.model = job.model,
                 .alias = alias,
                 .version = version,
                 .expected = expected,
                 .job_id = job.id});
}

absl::StatusOr<AliasMove> Promoter::RollBack(const Job& job, const std::string& alias) {
  ZOOD_ASSIGN_OR_RETURN(const auto moves, catalogue_.store().AliasMoves(
                                              {.alias = alias, .job_id = job.id}, kMostMoves));
  const auto last = std::ranges::find_if(
      moves, [](const store::AliasMove& move) { return move.undoes == 0 && !move.undone; });
  if (last == moves.end()) {
    return FailedPrecondition("job {} has moved {}; there is nothing to roll back", job.id,
                              alias.empty() ? "no alias" : "no alias '" + alias + "'");
  }
  if (last->from == 0) {
    return FailedPrecondition(
        "'{}' of {} named nothing before job {}; delete the alias, or point it at another version",
        last->alias, job.model, job.id);
  }
  ZOOD_ASSIGN_OR_RETURN(const auto move, Commit({.model = last->model,
                                                 .alias = last->alias,
                                                 .version = last->from,
                                                 .expected = last->to,
                                                 .job_id = job.id,
                                                 .undoes = last->id}));
  return move ? *move : FromStore(*last);
}

}  // namespace zood::jobs
