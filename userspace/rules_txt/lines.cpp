// SPDX-License-Identifier: GPL-2.0
#include "rules_txt/lines.h"

#include <algorithm>
#include <charconv>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "util/hex.h"

namespace holdfast
{

namespace
{

constexpr uint32_t persistence_least = 30, persistence_most = 3600, seconds_most = 30, threshold_most = 10;

class Reader
{
public:
	explicit Reader(TxtRules &rules) : rules_(rules) {}

	void read(const std::string &text, int line);

private:
	void forwarding();
	void settings();
	void http(TxtSettings &settings);
	bool count(size_t least, size_t most, const char *format);
	void problem(const std::string &field, const std::string &reason)
	{
		rules_.problems.push_back({line_, field, printable(reason)});
	}
	uint32_t number(const std::string &field, const std::string &text, uint32_t least, uint32_t most,
			bool zero = false);
	std::optional<hf_protocol> protocol(const std::string &text);
	std::vector<Address> addresses(const std::string &text);

	TxtRules &rules_;
	int line_ = 0;
	std::vector<std::string> fields_;
};

// Out of range: 0, which nothing else has.
uint32_t Reader::number(const std::string &field, const std::string &text, uint32_t least, uint32_t most, bool zero)
{
	uint32_t value = 0;
	const char *end = text.data() + text.size();
	const auto [stop, status] = std::from_chars(text.data(), end, value);

	if (status == std::errc() && stop == end && ((value >= least && value <= most) || (zero && value == 0)))
		return value;
	problem(field, fmt::format("'{}'; allowed: {}{}-{}", text, zero ? "0 (off), " : "", least, most));
	return 0;
}

std::optional<hf_protocol> Reader::protocol(const std::string &text)
{
	if (text == "tcp")
		return HF_PROTOCOL_TCP;
	if (text == "udp")
		return HF_PROTOCOL_UDP;
	problem("protocol", fmt::format("'{}'; allowed: tcp, udp", text));
	return std::nullopt;
}

std::vector<Address> Reader::addresses(const std::string &text)
{
	std::vector<Address> found;

	for (size_t start = 0; start <= text.size();) {
		const size_t end = std::min(text.find(',', start), text.size());
		const std::string one = text.substr(start, end - start);
		const auto address = Address::parse(one);

		start = end + 1;
		if (!address || !address->is_unicast() || address->is_loopback())
			problem("address",
				fmt::format("'{}' is not an address that a host on a network can have", one));
		else if (std::find(found.begin(), found.end(), *address) != found.end())
			problem("address", fmt::format("{} is given twice", one));
		else
			found.push_back(*address);
	}
	return found;
}

bool Reader::count(size_t least, size_t most, const char *format)
{
	if (fields_.size() >= least && fields_.size() <= most)
		return true;
	problem("line", fmt::format("{} fields; expected: {}", fields_.size(), format));
	return false;
}

void Reader::forwarding()
{
	if (!count(4, 4, "protocol forwarding-port origin-port address[,address...]"))
		return;
	const auto of = protocol(fields_[0]);
	const auto port = static_cast<uint16_t>(number("forwarding-port", fields_[1], 1, UINT16_MAX));
	const auto origin = static_cast<uint16_t>(number("origin-port", fields_[2], 1, UINT16_MAX));
	const TxtForwarding rule{origin, addresses(fields_[3]), line_};

	if (!of || !port)
		return;
	const auto [there, fresh] = rules_.forwarding.emplace(TxtPlace{port, *of}, rule);
	if (!fresh)
		problem("forwarding-port",
			fmt::format("line {} has {} {} already", there->second.line, fields_[0], port));
}

// Only the check of a TCP rule speaks HTTP.
void Reader::http(TxtSettings &settings)
{
	const auto visible = [](const std::string &text) {
		return std::all_of(text.begin(), text.end(), [](unsigned char c) { return c > ' ' && c < 127; });
	};

	settings.check.type = CheckType::http;
	if (fields_[1] != "tcp")
		problem("check-type", "http belongs to rules of protocol tcp");
	if (fields_.size() < 10) {
		problem("path", "is required for an http check");
		return;
	}
	settings.check.path = fields_[9];
	if (fields_[9][0] != '/' || !visible(fields_[9]) || fields_[9].size() > HF_CHECK_TEXT_MAX)
		problem("path", fmt::format("'{}'; allowed: '/', and visible ASCII characters behind it", fields_[9]));
	if (fields_.size() < 11)
		return;
	settings.check.host = fields_[10];
	if (!visible(fields_[10]) || fields_[10].size() > HF_CHECK_NAME_MAX)
		problem("domain", fmt::format("'{}'; allowed: visible ASCII characters", fields_[10]));
}

void Reader::settings()
{
	if (!count(9, 11,
		   "port protocol persistence check-type check-port response-timeout interval "
		   "unhealthy-threshold healthy-threshold [path [domain]]"))
		return;
	const auto port = static_cast<uint16_t>(number("port", fields_[0], 1, UINT16_MAX));
	const auto of = protocol(fields_[1]);
	TxtSettings rule;

	rule.line = line_;
	rule.persistence = number("persistence", fields_[2], persistence_least, persistence_most, true);
	rule.check.port = static_cast<uint16_t>(number("check-port", fields_[4], 1, UINT16_MAX));
	rule.check.timeout = number("response-timeout", fields_[5], 1, seconds_most);
	rule.check.interval = number("interval", fields_[6], 1, seconds_most);
	rule.check.unhealthy_threshold = number("unhealthy-threshold", fields_[7], 1, threshold_most);
	rule.check.healthy_threshold = number("healthy-threshold", fields_[8], 1, threshold_most);
	if (fields_[3] == "http") {
		http(rule);
	} else if (fields_[3] == "tcp" || fields_[3] == "udp") {
		rule.check.type = fields_[3] == "tcp" ? CheckType::tcp : CheckType::udp;
		if (fields_.size() > 9)
			problem("path", fmt::format("a {} check has none", fields_[3]));
		if (of && fields_[3] != fields_[1])
			rules_.warnings.push_back({line_, "check-type",
						   fmt::format("a {} rule with a {} check: a check of its own protocol "
							       "tells more",
							       fields_[1], fields_[3])});
	} else {
		problem("check-type", fmt::format("'{}'; allowed: tcp, http, udp", fields_[3]));
	}
	if (!of || !port)
		return;
	const auto [there, fresh] = rules_.settings.emplace(TxtPlace{port, *of}, rule);
	if (!fresh)
		problem("port",
			fmt::format("line {} has the settings of {} {} already", there->second.line, fields_[1], port));
}

void Reader::read(const std::string &text, int line)
{
	line_ = line;
	fields_.clear();
	if (text.empty())
		return;
	for (size_t start = 0; start <= text.size();) {
		const size_t end = std::min(text.find(' ', start), text.size());

		fields_.push_back(text.substr(start, end - start));
		start = end + 1;
	}
	if (std::any_of(fields_.begin(), fields_.end(), [](const std::string &field) { return field.empty(); }))
		problem("line", "fields are separated by single spaces, and none stands at an end");
	else if (std::isdigit(static_cast<unsigned char>(fields_[0][0])))
		settings();
	else
		forwarding();
}

} // namespace

std::string TxtProblem::text(const std::string &file) const
{
	return line ? fmt::format("{}:{}: {}: {}", file, line, field, reason)
		    : fmt::format("{}: {}: {}", file, field, reason);
}

TxtRules parse_txt(const std::string &text)
{
	TxtRules rules;
	Reader reader(rules);
	int line = 0;

	for (size_t start = 0; start < text.size();) {
		const size_t end = std::min(text.find('\n', start), text.size());
		std::string one = text.substr(start, end - start);

		if (one.ends_with('\r'))
			one.pop_back();
		reader.read(one, ++line);
		start = end + 1;
	}
	return rules;
}

std::string render_txt(const TxtRules &rules)
{
	std::string text;

	for (const auto &[place, rule] : rules.forwarding) {
		std::vector<std::string> members;

		for (const Address &address : rule.members)
			members.push_back(address.text());
		text += fmt::format("{} {} {} {}\n", word(place.second), place.first, rule.origin_port,
				    fmt::join(members, ","));
	}
	for (const auto &[place, rule] : rules.settings) {
		const HealthCheck &check = rule.check;

		text += fmt::format("{} {} {} {} {} {} {} {} {}", place.first, word(place.second), rule.persistence,
				    word(check.type), check.port, check.timeout, check.interval,
				    check.unhealthy_threshold, check.healthy_threshold);
		if (check.type == CheckType::http)
			text += " " + check.path + (check.host.empty() ? "" : " " + check.host);
		text += "\n";
	}
	return text;
}

std::string txt_objection(const HealthCheck &check, hf_protocol protocol)
{
	const HealthCheck usual;

	if (check.type == CheckType::http && protocol != HF_PROTOCOL_TCP)
		return "http belongs to rules of protocol tcp";

	if (check.type == CheckType::https || check.type == CheckType::icmp)
		return fmt::format("its type is {}", word(check.type));
	if (check.timeout > seconds_most || check.interval > seconds_most)
		return fmt::format("its timeout or interval is over {} s", seconds_most);
	if (check.unhealthy_threshold > threshold_most || check.healthy_threshold > threshold_most)
		return fmt::format("a threshold is over {}", threshold_most);
	if (check.method != usual.method || check.expect_status != usual.expect_status || !check.send.empty())
		return "it has a method, an expect_status or bytes of its own";
	return {};
}

bool txt_has_persistence(uint32_t seconds)
{
	return seconds >= persistence_least && seconds <= persistence_most;
}

} // namespace holdfast
