// The crash handler. It runs in a broken process, so it uses no heap memory and no locks.
#include "base/crash.h"

#include <execinfo.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>

#include "base/error.h"

namespace eyrie::base {
namespace {

// A line of text, composed without the heap.
class Line {
 public:
  Line& operator<<(const char* text) {
    while (*text != '\0' && size_ < sizeof(text_)) text_[size_++] = *text++;
    return *this;
  }
  Line& number(std::uint64_t value, unsigned base) {
    char digits[24];
    int count = 0;
    do {
      digits[count++] = "0123456789abcdef"[value % base];
      value /= base;
    } while (value > 0);
    while (count > 0 && size_ < sizeof(text_)) text_[size_++] = digits[--count];
    return *this;
  }
  void print() const { (void)!::write(STDERR_FILENO, text_, size_); }

 private:
  char text_[256];
  std::size_t size_ = 0;
};

// After a call of address 0 the stack cannot be walked: only the caller is known, by the address
// that it left on the stack.
void print_caller_of_null([[maybe_unused]] const void* context) {
#ifdef __x86_64__
  const auto& registers = static_cast<const ucontext_t*>(context)->uc_mcontext.gregs;
  if (registers[REG_RIP] != 0) return;
  void* caller = *reinterpret_cast<void**>(registers[REG_RSP]);
  (Line() << "address 0 was called from\n").print();
  ::backtrace_symbols_fd(&caller, 1, STDERR_FILENO);
#endif
}

void on_crash(int signal, siginfo_t* info, void* context) {
  Line line;
  if (rank() >= 0) (line << "rank ").number(static_cast<std::uint64_t>(rank()), 10) << ": ";
  const char* name = ::sigdescr_np(signal);
  (line << "crashed by signal ").number(static_cast<std::uint64_t>(signal), 10)
      << " (" << (name != nullptr ? name : "?") << ")";
  if (info->si_code > 0) {
    (line << " at address 0x").number(reinterpret_cast<std::uintptr_t>(info->si_addr), 16);
  } else {
    (line << ", sent by process ").number(static_cast<std::uint64_t>(info->si_pid), 10);
  }
  (line << "\n").print();
  print_caller_of_null(context);
  void* frames[64];
  const int depth = ::backtrace(frames, 64);
  ::backtrace_symbols_fd(frames, depth, STDERR_FILENO);
  ::raise(signal);  // SA_RESETHAND: the default action
}

class SignalStack {
 public:
  SignalStack() {
    const long least = ::sysconf(_SC_MINSIGSTKSZ);  // larger on processors with more registers
    bytes_ = (std::size_t{1} << 16) + static_cast<std::size_t>(least > 0 ? least : MINSIGSTKSZ);
    void* memory = ::mmap(nullptr, bytes_, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
    if (memory == MAP_FAILED) return;
    stack_t stack = {}, before = {};
    stack.ss_sp = memory;
    stack.ss_size = bytes_;
    // A sanitizer's own stack is kept.
    if (::sigaltstack(nullptr, &before) == 0 && (before.ss_flags & SS_DISABLE) != 0 &&
        ::sigaltstack(&stack, nullptr) == 0) {
      memory_ = memory;
    } else {
      ::munmap(memory, bytes_);
    }
  }
  ~SignalStack() {
    if (memory_ == nullptr) return;
    stack_t none = {};
    none.ss_flags = SS_DISABLE;
    if (::sigaltstack(&none, nullptr) == 0) ::munmap(memory_, bytes_);
  }
  SignalStack(const SignalStack&) = delete;
  SignalStack& operator=(const SignalStack&) = delete;

 private:
  void* memory_ = nullptr;
  std::size_t bytes_ = 0;
};

}  // namespace

void report_crashes() {
  use_signal_stack();
  void* frame = nullptr;
  ::backtrace(&frame, 1);  // its first call allocates memory
  for (const int signal : {SIGSEGV, SIGBUS, SIGFPE, SIGILL}) {
    struct sigaction before = {}, action = {};
    ::sigaction(signal, nullptr, &before);
    if (before.sa_handler != SIG_DFL) continue;
    action.sa_sigaction = on_crash;
    action.sa_flags = static_cast<int>(SA_SIGINFO | SA_ONSTACK | SA_RESETHAND | SA_NODEFER);
    sigemptyset(&action.sa_mask);
    ::sigaction(signal, &action, nullptr);
  }
}

void use_signal_stack() { static thread_local const SignalStack stack; }

}  // namespace eyrie::base
