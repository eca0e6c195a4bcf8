#include "base/mapping.h"

#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <system_error>
#include <utility>
#include <vector>

#include "base/mutex.h"
#include "base/status.h"

namespace zood {
namespace {

// As many mappings as Linux gives a process by default (vm.max_map_count). 2 MiB of zero pages,
// which cost memory only as far as they are used.
constexpr std::size_t kSlots = 65'536;

// What the handler reads. A slot is free while `begin` is 0. Whoever takes one writes `begin` last;
// the thread that gives it back clears `begin` before the memory is unmapped. So while a thread
// reads a mapping's bytes, and may be interrupted by the handler, its slot does not change.
struct Slot {
  std::atomic<std::uintptr_t> begin = 0;
  std::atomic<std::uintptr_t> end = 0;
  std::atomic<std::uint64_t> loss = 0;  // 0: whole; otherwise the number of the loss
};
static_assert(std::atomic<std::uintptr_t>::is_always_lock_free &&
              std::atomic<std::uint64_t>::is_always_lock_free);

constinit std::array<Slot, kSlots> slots;
constinit std::atomic<std::size_t> slots_used = 0;  // those from here on were never taken
constinit std::atomic<std::uint64_t> losses = 0;    // mappings that lost bytes, ever

struct sigaction previous_action;  // constant once the handler is installed
std::uintptr_t page_size;

Slot* FindSlot(std::uintptr_t address) {
  const std::size_t used = slots_used.load(std::memory_order_acquire);
  for (std::size_t i = 0; i < used; ++i) {
    Slot& slot = slots[i];
    const std::uintptr_t begin = slot.begin.load(std::memory_order_acquire);
    if (begin == 0 || address < begin || address >= slot.end.load(std::memory_order_acquire)) {
      continue;
    }
    // The slot may have been reused between the two loads.
    if (slot.begin.load(std::memory_order_acquire) == begin) return &slot;
  }
  return nullptr;
}

// False when zeros could not be had.
bool ReplaceByZeros(Slot& slot, std::uintptr_t address) {
  const std::uintptr_t page = address - address % page_size;
  void* const at = reinterpret_cast<void*>(page);
  const std::size_t size = slot.end.load(std::memory_order_relaxed) - page;
  // The bare call: a sanitizer's mmap() is not made for signal handlers.
  if (::syscall(SYS_mmap, at, size, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) ==
      -1) {
    return false;
  }
  std::uint64_t whole = 0;
  if (slot.loss.load() == 0) slot.loss.compare_exchange_strong(whole, losses.fetch_add(1) + 1);
  return true;
}

void PassOn(int signal, siginfo_t* info, void* context) {
  if ((previous_action.sa_flags & SA_SIGINFO) != 0) {
    previous_action.sa_sigaction(signal, info, context);
  } else if (previous_action.sa_handler != SIG_DFL && previous_action.sa_handler != SIG_IGN) {
    previous_action.sa_handler(signal);
  } else {
    // The read that failed is repeated on return and then meets what was there before us. A signal
    // that another process sent is not repeated by the kernel.
    ::sigaction(SIGBUS, &previous_action, nullptr);
    if (info->si_code <= 0) ::raise(SIGBUS);
  }
}

void HandleBusError(int signal, siginfo_t* info, void* context) {
  const int saved_errno = errno;
  Slot* slot = nullptr;
  if (info->si_code > 0) slot = FindSlot(reinterpret_cast<std::uintptr_t>(info->si_addr));
  if (slot == nullptr || !ReplaceByZeros(*slot, reinterpret_cast<std::uintptr_t>(info->si_addr))) {
    PassOn(signal, info, context);
  }
  errno = saved_errno;
}

// Who has which slot; never destroyed, because mappings may outlive static objects.
class Registry {
 public:
  static Registry& Get() {
    static Registry* const registry = new Registry;
    return *registry;
  }

  absl::StatusOr<std::size_t> Add(std::uintptr_t begin, std::size_t size, std::string path) {
    const MutexLock lock(mutex_);
    std::size_t index = slots_used.load(std::memory_order_relaxed);
    if (!free_.empty()) {
      index = free_.back();
      free_.pop_back();
    } else if (index == kSlots) {
      return Unavailable("cannot map {}: {} files are mapped already", path, kSlots);
    } else {
      paths_.emplace_back();
      slots_used.store(index + 1, std::memory_order_release);
    }
    paths_[index] = std::move(path);
    slots[index].loss.store(0);
    slots[index].end.store(begin + size, std::memory_order_release);
    slots[index].begin.store(begin, std::memory_order_release);
    return index;
  }

  void Remove(std::size_t index) {
    const MutexLock lock(mutex_);
    slots[index].begin.store(0);
    free_.push_back(index);
  }

  // Of the mapping that suffered a loss after number `before`; empty when it is gone.
  std::string PathOfLoss(std::uint64_t before) {
    const MutexLock lock(mutex_);
    for (std::size_t i = 0; i < paths_.size(); ++i) {
      if (slots[i].loss.load() > before) return paths_[i];
    }
    return "";
  }

 private:
  Registry() {
    page_size = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
    // Asked first, so that the handler never runs before the handler to pass a signal on to is
    // known.
    ::sigaction(SIGBUS, nullptr, &previous_action);
    struct sigaction action = {};
    action.sa_sigaction = HandleBusError;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    ::sigemptyset(&action.sa_mask);
    ::sigaction(SIGBUS, &action, nullptr);
  }

  Mutex mutex_;
  std::vector<std::string> paths_ ABSL_GUARDED_BY(mutex_);  // by slot
  std::vector<std::size_t> free_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace

absl::StatusOr<std::unique_ptr<Mapping>> Mapping::Map(int fd, std::size_t size, std::string path) {
  void* const address = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, fd, 0);
  if (address == MAP_FAILED) {
    return Unavailable("cannot map {}: {}", path, std::generic_category().message(errno));
  }
  const auto slot =
      Registry::Get().Add(reinterpret_cast<std::uintptr_t>(address), size, std::move(path));
  if (!slot.ok()) {
    ::munmap(address, size);
    return slot.status();
  }
  return std::unique_ptr<Mapping>(new Mapping(address, size, *slot));
}

Mapping::~Mapping() {
  Registry::Get().Remove(slot_);
  ::munmap(address_, size_);
}

MappingWatch::MappingWatch() : losses_before_(losses.load()) {}

absl::Status MappingWatch::Check() const {
  if (losses.load() == losses_before_) return absl::OkStatus();
  const std::string path = Registry::Get().PathOfLoss(losses_before_);
  return DataLoss(
      "{} became shorter, or could not be read, while it was in use; try again once "
      "no process writes to it",
      path.empty() ? "a file" : path);
}

}  // namespace zood
