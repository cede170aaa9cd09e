// SPDX-License-Identifier: BSD-3-Clause
// csrc/geometry and csrc/plan for pytest. Built by tests/native/build.py, never shipped: pybind11
// does not compile under the limited API that the wheel promises.
#include <pybind11/native_enum.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "geometry/gemm_view.h"
#include "geometry/problem.h"
#include "geometry/residue.h"
#include "plan/binary_code.h"
#include "plan/description.h"
#include "plan/family.h"

namespace py = pybind11;
using namespace convt3d;

namespace {

std::optional<int64_t> checked_output_extent(int64_t input, int64_t kernel, int64_t stride,
                                             int64_t padding, int64_t output_padding,
                                             int64_t dilation) {
  int64_t extent = 0;
  if (!output_extent(input, kernel, stride, padding, output_padding, dilation, &extent)) {
    return std::nullopt;
  }
  return extent;
}

// (family, accepts, reason) of every candidate, in the planner's order.
std::vector<std::tuple<std::string, bool, std::optional<std::string>>> verdicts(
    const Description& description, const Device& device) {
  std::vector<std::tuple<std::string, bool, std::optional<std::string>>> rows;
  for (const Candidate& candidate : candidates(description.direction, device)) {
    const Verdict verdict = candidate.supports(description, device);
    std::optional<std::string> reason;
    if (verdict.reason != nullptr) reason = verdict.reason;
    rows.emplace_back(to_string(candidate.family), verdict.ok, reason);
  }
  return rows;
}

void bind_geometry(py::module_& module) {
  py::native_enum<Direction>(module, "Direction", "enum.Enum")
      .value("forward", Direction::forward)
      .value("grad_input", Direction::grad_input)
      .value("grad_weight", Direction::grad_weight)
      .finalize();
  py::class_<Problem>(module, "Problem")
      .def(py::init<>())
      .def_readwrite("batch", &Problem::batch)
      .def_readwrite("in_channels", &Problem::in_channels)
      .def_readwrite("out_channels", &Problem::out_channels)
      .def_readwrite("groups", &Problem::groups)
      .def_readwrite("input", &Problem::input)
      .def_readwrite("kernel", &Problem::kernel)
      .def_readwrite("stride", &Problem::stride)
      .def_readwrite("padding", &Problem::padding)
      .def_readwrite("output_padding", &Problem::output_padding)
      .def_readwrite("dilation", &Problem::dilation)
      .def("output", &Problem::output)
      .def("__eq__", [](const Problem& a, const Problem& b) { return a == b; })
      .def("__str__", [](const Problem& problem) { return to_string(problem); })
      .def("__repr__", [](const Problem& problem) { return to_string(problem); });
  py::class_<AxisResidue>(module, "AxisResidue")
      .def_readonly("residue", &AxisResidue::residue)
      .def_readonly("first_output", &AxisResidue::first_output)
      .def_readonly("num_outputs", &AxisResidue::num_outputs)
      .def_readonly("first_tap", &AxisResidue::first_tap)
      .def_readonly("tap_step", &AxisResidue::tap_step)
      .def_readonly("num_taps", &AxisResidue::num_taps)
      .def_readonly("first_input", &AxisResidue::first_input)
      .def_readonly("input_step", &AxisResidue::input_step);
  py::class_<GemmView>(module, "GemmView")
      .def_readonly("num_gemms", &GemmView::num_gemms)
      .def_readonly("m", &GemmView::m)
      .def_readonly("n", &GemmView::n)
      .def_readonly("k", &GemmView::k);
  module.def("output_extent", &checked_output_extent);
  module.def("useful_flops", &useful_flops);
  module.def("axis_residues", &axis_residues);
  module.def("gemm_view", &gemm_view);
  module.def("parse_problem", &parse_problem);
}

void bind_plan(py::module_& module) {
  py::native_enum<Precision>(module, "Precision", "enum.Enum")
      .value("fp64", Precision::fp64)
      .value("fp32", Precision::fp32)
      .value("tf32", Precision::tf32)
      .value("fp16", Precision::fp16)
      .value("bf16", Precision::bf16)
      .finalize();
  py::native_enum<Layout>(module, "Layout", "enum.Enum")
      .value("ncdhw", Layout::ncdhw)
      .value("ndhwc", Layout::ndhwc)
      .value("strided", Layout::strided)
      .finalize();
  py::native_enum<DeviceKind>(module, "DeviceKind", "enum.Enum")
      .value("cpu", DeviceKind::cpu)
      .value("cuda", DeviceKind::cuda)
      .finalize();
  py::class_<Description>(module, "Description")
      .def(py::init<>())
      .def_readwrite("problem", &Description::problem)
      .def_readwrite("direction", &Description::direction)
      .def_readwrite("precision", &Description::precision)
      .def_readwrite("input", &Description::input)
      .def_readwrite("weight", &Description::weight)
      .def_readwrite("output", &Description::output)
      .def_readwrite("has_bias", &Description::has_bias)
      .def("__eq__", [](const Description& a, const Description& b) { return a == b; })
      .def("__str__", [](const Description& description) { return to_string(description); })
      .def("__repr__", [](const Description& description) { return to_string(description); });
  module.def("has_code", &has_code);
  module.def("no_code_warning", &no_code_warning);
  module.def("old_driver_error", &old_driver_error);
  py::class_<Device>(module, "Device")
      .def(py::init([](DeviceKind kind, int arch, int num_sms, int num_threads) {
             return Device{kind, arch, num_sms, num_threads};
           }),
           py::arg("kind"), py::kw_only(), py::arg("arch") = 0, py::arg("num_sms") = 0,
           py::arg("num_threads") = 1)
      .def_readonly("kind", &Device::kind);
  module.def("parse_description", &parse_description);
  module.def("verdicts", &verdicts);
  module.def("plan", [](const Description& description, const Device& device) {
    return std::string(to_string(plan(description, device).family));
  });
  module.def("forced",
             [](const std::string& family, const Description& description, const Device& device) {
               return std::string(to_string(forced(family, description, device).family));
             });
  module.def("workspace_bytes",
             [](const std::string& family, const Description& description, const Device& device) {
               return forced(family, description, device).workspace_bytes(description, device);
             });
  module.def("config",
             [](const std::string& family, const Description& description, const Device& device) {
               return forced(family, description, device).config(description, device);
             });
}

}  // namespace

PYBIND11_MODULE(convt3d_native, module) {
  bind_geometry(module);
  bind_plan(module);
}
